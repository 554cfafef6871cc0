"""What DVC says is out of date, in a pipeline that has run, and what is recorded in dvc.lock."""

import shutil
import subprocess
import sys

import pytest
import tiny
from dvc.repo import Repo

from pipeline import stages

DIGITS, FACES = "transfer@cnn-digits", "transfer@cnn-faces"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tiny.make(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        for name in tiny.ALL[1:]:
            found = stages.Stages(root)
            tiny.work(root, name, [out.def_path for out in found.by_name[name].outs], {})
        with found.alone():
            found.record(tiny.ALL)
        yield root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """A copy of the finished pipeline."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "project"))
    return tmp_path / "project"


def stale(root):
    found = stages.Stages(root)
    return found.out_of_date(found.by_name)


def test_each_stage_comes_after_those_it_needs(root):
    found = stages.Stages(root)
    assert list(found.by_name) == tiny.ALL
    assert found.parents("final") == [DIGITS, FACES]
    assert found.ancestors(DIGITS) == {"code", "source@cnn"}
    assert found.wanted(["transfer"]) == tiny.ALL[:-1]
    with pytest.raises(ValueError, match="transfr: no such stage; allowed: code, source, transfer, final"):
        found.wanted(["transfr"])


def test_what_is_recorded_is_up_to_date_and_dvc_agrees(root):
    assert stale(root) == {}
    with Repo(str(root)) as repo:
        assert repo.status() == {}


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("params.yaml", "seeds: [0, 1]", "seeds: [7]", {DIGITS: "study.seeds changed", FACES: "study.seeds changed",
                                                        "final": "study changed"}),
        ("params.yaml", "1e-5", "0.00001", {}),
        ("params.yaml", "faces]", "faces, new]", {"transfer@cnn-new": "new", "final": "study changed"}),
        ("dvc.yaml", "echo all", "echo each", {"final": "its command changed"}),
        ("module.py", "1", "2", {"code": "module.py changed", DIGITS: "module.py changed", FACES: "module.py changed",
                                 "final": f"after {DIGITS}"}),
        ("data/cnn", "source", "other", {"source@cnn": "data/cnn changed", DIGITS: "data/cnn changed",
                                         FACES: "data/cnn changed", "final": f"after {DIGITS}"}),
    ],
)  # fmt: skip
def test_a_change_reaches_what_depends_on_it_and_is_named(root, file, before, after, expected):
    tiny.edit(root / file, before, after)
    assert stale(root) == expected


def test_a_list_of_code_names_the_module_that_changed(root):
    (root / "data/code.json").write_text('{"a.py": "1", "b.py": "1"}')
    found = stages.Stages(root)
    with found.alone():
        found.record(["code", "source@cnn"])
    (root / "data/code.json").write_text('{"a.py": "1", "b.py": "2"}')
    assert stale(root)["source@cnn"] == "b.py changed"


def test_lost_outputs_come_back_from_the_cache(root):
    (root / "data/cnn").unlink()
    (root / "data/rounds-cnn").unlink()
    found = stages.Stages(root)
    with found.alone():
        found.bring_back(found.by_name)
    assert stale(root) == {}


def test_a_run_that_dvc_knows_is_restored(root):
    tiny.edit(root / "params.yaml", "[0, 1]", "[7]")
    (root / "results/cnn-digits").write_text("of seed 7")
    found = stages.Stages(root)
    with found.alone():
        found.record([DIGITS])
    tiny.edit(root / "params.yaml", "[7]", "[0, 1]")
    found = stages.Stages(root)
    with found.alone():
        assert found.restore(DIGITS)
        assert (root / "results/cnn-digits").read_text() == f"{DIGITS} 0"
        tiny.edit(root / "params.yaml", "[0, 1]", "[8]")
        assert not found.restore(DIGITS)


def test_the_lock_is_what_dvc_writes(root):
    ours = (root / "dvc.lock").read_text()
    (root / "dvc.lock").unlink()
    with Repo(str(root)) as repo:
        for name in tiny.ALL:
            repo.commit(name, force=True)
    assert (root / "dvc.lock").read_text() == ours


def test_one_at_a_time(root):
    found = stages.Stages(root)
    code = "import sys; from pathlib import Path; from pipeline import alone; alone.check(Path(sys.argv[1]))"
    with found.alone():
        beside = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True)
        assert "another `vpstudy repro` or `dvc` command is at work here" in beside.stderr
    assert subprocess.run([sys.executable, "-c", code, str(root)]).returncode == 0


def test_what_a_killed_dvc_left_is_no_hindrance_and_a_living_one_is(root):
    note, found = root / ".dvc/tmp/rwlock", stages.Stages(root)
    note.write_text('{"write": {"x": {"pid": 999999999, "cmd": "dvc repro"')
    with found.alone():
        assert not note.exists()
    note.write_text('{"write": {"x": {"pid": 1, "cmd": "dvc repro"}}}')
    with pytest.raises(ValueError, match="process 1"), found.alone():
        pytest.fail("it is at work")
