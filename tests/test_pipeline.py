import json
import shutil
import time
from pathlib import Path

import pytest
import tiny_pipeline

from pipeline import definition, judge, pipeline, session
from vpstudy import yaml12

DIGITS, FACES = "transfer@cnn-digits", "transfer@cnn-faces"
ALL = ["code", "source@cnn", DIGITS, FACES, "final"]
made, root = tiny_pipeline.made, tiny_pipeline.root


def edit(file, before, after):
    def change():
        text = Path(file).read_text()
        assert before in text
        Path(file).write_text(text.replace(before, after))

    return change


def remove(*places):
    def change():
        for place in places:
            shutil.rmtree(place) if Path(place).is_dir() else Path(place).unlink()

    return change


def both(*changes):
    def change():
        for one in changes:
            one()

    return change


CLONE = remove(".dvc/cache", "data/models", "data/code", "data/targets", "data/pages")
CHANGES = {
    "nothing": lambda: None,
    "a parameter of one kind": edit("params.yaml", "seeds: [0, 1]", "seeds: [0]"),
    "a parameter of two kinds": edit("params.yaml", "device: auto", "device: cpu"),
    "a key more in a section": edit("params.yaml", "on: off", "on: off, more: 1"),
    "a parameter nobody uses": edit("params.yaml", "unused: 3", "unused: 4"),
    "the same numbers written otherwise": edit("params.yaml", "1.0e-5", "0.00001"),
    "a comment": edit("params.yaml", "scale: default", "scale: default  # the usual"),
    "a module": edit("module.py", "1", "2"),
    "a comment in a target": edit("vpstudy/data/digits.py", "# a comment", "# another one"),
    "a comment in a module": edit("vpstudy/two.py", "# a comment", "# another one"),
    "a command": edit("dvc.yaml", "make.py final", "./make.py final"),
    "a dependency more": edit("dvc.yaml", "deps: [make.py]", "deps: [make.py, module.py]"),
    "a dependency less": edit("dvc.yaml", "      - module.py\n", ""),
    "a parameter more": edit("dvc.yaml", "params: [execution, source.steps]", "params: [execution, source]"),
    "an output more": edit("dvc.yaml", "figures/${item.scale}: {", "x.txt\n      - figures/${item.scale}: {"),
    "an axis value more": edit("params.yaml", "[digits, faces]", "[digits, faces, textures]"),
    "an axis value less": edit("params.yaml", "[digits, faces]", "[digits]"),
    "no axis value": edit("params.yaml", "[digits, faces]", "[]"),
    "another scale": edit("params.yaml", "scale: default", "scale: smoke"),
    "a saved run": lambda: Path("notebooks/30_transfer.ipynb").write_text(
        tiny_pipeline.notebook(tiny_pipeline.CODE, "out")
    ),
    "a result edited": edit("data/results/default/cnn-digits.json", "result", "better result"),
    "a result deleted": remove("data/results/default/cnn-digits.json"),
    "a figure deleted": remove("figures/default"),
    "an orphan result": lambda: Path("data/results/default/old.json").write_text("{}"),
    "an orphan that DVC ignores": both(
        lambda: Path(".dvcignore").write_text("# rests\n.*.tmp\n"),
        lambda: Path("data/results/default/.a.json.tmp").write_text("{}"),
    ),
    "a page deleted": remove("data/pages/default-cnn-digits.txt"),
    "a model edited": edit("data/models/default/cnn.txt", "weights", "other weights"),
    "a round deleted": remove("data/models/default/cnn/rounds/deep/2.txt"),
    "the cache deleted": remove(".dvc/cache"),
    "a fresh clone": CLONE,
    "a fresh clone, a parameter": both(CLONE, edit("params.yaml", "steps: 1.0e-5", "steps: 2.0e-5")),
    "a fresh clone, an axis value more": both(CLONE, edit("params.yaml", "[digits, faces]", "[digits, x]")),
    "a fresh clone, a module": both(CLONE, edit("module.py", "1", "2")),
    "no dvc.lock": remove("dvc.lock"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_dvc_says_the_same(root, change):
    CHANGES[change]()
    for allow_missing in (False, True):
        verdicts = judge.judge(root, allow_missing)
        will_run = {v.stage.name for v in verdicts if v.state == judge.WILL_RUN}
        assert will_run == tiny_pipeline.changed(root, allow_missing)


def test_it_takes_no_time(root):
    start = time.perf_counter()
    assert pipeline.stale(root) == []
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("change", "will", "may"),
    [
        ("a module", [DIGITS, FACES], ["final"]),
        ("a saved run", ["code"], []),
        ("a comment in a module", ["code"], []),
        ("a parameter of two kinds", ["source@cnn", DIGITS, FACES], ["final"]),
        ("an axis value less", ["final"], []),
        ("a model deleted", ["source@cnn"], [DIGITS, FACES, "final"]),
    ],
)
def test_what_will_run_runs_and_what_is_up_to_date_does_not(root, change, will, may):
    (CHANGES | {"a model deleted": remove("data/models/default/cnn.txt")})[change]()
    verdicts = judge.judge(root)
    assert [v.stage.name for v in verdicts if v.state == judge.WILL_RUN] == will
    assert [v.stage.name for v in verdicts if v.state == judge.MAY_RUN] == may
    ran = tiny_pipeline.repro(root)
    assert set(will) <= set(ran) <= {*will, *may}
    assert pipeline.stale(root) == []


def test_another_cell_in_a_notebook_is_foreseen_in_all_that_use_it(root):
    (root / "notebooks" / "30_transfer.ipynb").write_text(tiny_pipeline.notebook("2"))
    will = [v.stage.name for v in judge.judge(root) if v.state == judge.WILL_RUN]
    assert will == ["code", DIGITS, FACES]
    assert set(tiny_pipeline.repro(root)) == set(will)  # figures came out the same


def test_a_changed_statement_is_foreseen_in_all_that_reach_it_and_named(root):
    edit("vpstudy/two.py", "two = 2", "two = 3")()
    verdicts = {v.stage.name: v for v in judge.judge(root)}
    assert [name for name, v in verdicts.items() if v.state == judge.WILL_RUN] == ["code", DIGITS, FACES]
    assert verdicts[DIGITS].reason == "vpstudy/two.py changed"
    assert set(tiny_pipeline.repro(root)) == {"code", DIGITS, FACES}


@pytest.mark.parametrize(("name", "will"), [("digits", [DIGITS]), ("pictures", [DIGITS, FACES])])
def test_a_changed_embedded_target_is_foreseen_in_its_own_cells(root, name, will):
    edit(f"vpstudy/data/{name}.py", f"{name} = 1", f"{name} = 2")()
    verdicts = {v.stage.name: v for v in judge.judge(root)}
    assert [stage for stage, v in verdicts.items() if v.state == judge.WILL_RUN] == ["code", *will]
    assert verdicts[DIGITS].reason == f"vpstudy/data/{name}.py changed"
    assert set(tiny_pipeline.repro(root)) == {"code", *will}


def test_deleted_outputs_that_the_cache_has_come_back_without_a_run(root):
    remove("data/code")()
    before = (root / "ran.txt").read_text()
    assert pipeline.stale(root) == []
    tiny_pipeline.repro(root)
    assert (root / "ran.txt").read_text() == before
    assert (root / "data" / "code").exists()


def test_reasons_name_what_changed(root):
    for change in ("a parameter of one kind", "a module"):
        CHANGES[change]()
    reasons = {v.stage.name: v.reason for v in judge.judge(root)}
    assert reasons[DIGITS] == "study.seeds changed"
    assert reasons["final"] == "study changed"
    assert reasons["source@cnn"] == ""


def test_stages_come_after_those_they_need_and_are_named_as_dvc_does(root):
    assert [stage.name for stage in definition.stages(root)] == ALL
    (root / "dvc.lock").unlink()
    assert tiny_pipeline.changed(root, allow_missing=False) == set(ALL)


def test_what_is_not_understood_is_an_error(root):
    edit("dvc.yaml", "    deps: [make.py]", "    deps: [make.py]\n    always_changed: true")()
    with pytest.raises(ValueError, match="always_changed is not understood"):
        pipeline.stale(root)


def test_a_reference_to_nothing_is_an_error(root):
    edit("params.yaml", "targets:", "target:")()
    with pytest.raises(ValueError, match=r"study\.targets"):
        pipeline.stale(root)


def test_a_damaged_lock_is_named(root):
    (root / "dvc.lock").write_text("")
    with pytest.raises(ValueError, match=r"dvc\.lock is damaged"):
        pipeline.stale(root)


def test_seconds_are_those_measured_here_else_of_the_like_else_the_estimate(root):
    timings = root / "timings"
    timings.mkdir()
    (timings / f"{DIGITS}.json").write_text(json.dumps({"seconds": 50.0}))
    (root / "dvc.lock").unlink()
    steps = pipeline.plan({"transfer": 1.0, "source": 20.0}, root, timings)
    seconds = {step.stage.name: step.seconds - pipeline.OVERHEAD for step in steps}
    assert seconds == dict(zip(ALL, [0.0, 20.0, 50.0, 50.0, 0.0], strict=True))
    tiny_pipeline.repro(root)
    assert {step.seconds for step in pipeline.plan({}, root, timings)} == {0.0}


def test_the_progress_line_counts_what_this_command_did_and_has_left(root, monkeypatch):
    class Dvc:
        pid = 1
        words = ("python", "dvc", "repro")

        def create_time(self):
            return 2.5

        def cmdline(self):
            return list(self.words)

    dvc = Dvc()
    monkeypatch.setattr(session, "dvc_process", lambda: dvc)
    CHANGES["a module"]()

    def line(stage):
        return pipeline.progress_line(stage, {"transfer": 116.0}, root, root / "timings")

    assert line(DIGITS) == f"[1 of 3] {DIGITS} · about 4 min left"
    tiny_pipeline.repro(root, targets=[DIGITS], single_item=True)
    assert line(FACES) == f"[2 of 3] {FACES} · about 2 min left"
    dvc.pid = 3  # the next command starts anew
    assert line(FACES) == f"[1 of 2] {FACES} · about 2 min left"
    dvc.words = ("python", "dvc", "repro", FACES)
    assert line(FACES) == f"[1 of 1] {FACES} · about 2 min left"


def test_numbers_and_words_are_read_as_dvc_reads_them():
    from dvc.utils.serialize import parse_yaml

    scalars = [
        "1e-3",
        "1.0e-05",
        "on",
        "yes",
        "true",
        "-7",
        "~",
        "",
        "'1'",
        "0.90",
        ".5",
        "1:30",
        "2.",
        "imp-0.90",
    ]
    text = "".join(f"k{index}: {scalar}\n" for index, scalar in enumerate(scalars))
    assert yaml12.load(text) == parse_yaml(text, "a.yaml")
    assert str(yaml12.load(text)) == str(parse_yaml(text, "a.yaml"))
