"""Stages run without DVC stand in dvc.lock, and in DVC's cache, as if DVC had run them."""

import re
import shutil
from pathlib import Path

import pytest
import tiny_pipeline
from ruamel.yaml import YAML

from vpstudy.execution import judge, ledger, parallel, pipeline

made, root = tiny_pipeline.made, tiny_pipeline.root
DIGITS = "transfer@default-cnn-digits"


def run(root: Path, *targets: str) -> int:
    return parallel.Runner(list(targets), {}, weight=lambda kind: 1, cores=2, root=root).run()


def locked(root: Path) -> dict:
    return YAML(typ="safe").load((root / "dvc.lock").read_text())


def forget(root: Path) -> None:
    """Leave the pipeline as in a new clone in which nothing has run."""
    for name in ("dvc.lock", "ran.txt"):
        (root / name).unlink()
    for name in (".dvc/cache", "data", "figures"):
        shutil.rmtree(root / name)


def edit(root: Path, before: str, after: str) -> None:
    path = root / "params.yaml"
    path.write_text(path.read_text().replace(before, after))


def test_the_lock_is_what_dvc_itself_writes(root):
    by_dvc, text = locked(root), (root / "dvc.lock").read_text()
    forget(root)
    assert run(root) == 0
    assert locked(root) == by_dvc
    assert sorted((root / "dvc.lock").read_text().splitlines()) == sorted(text.splitlines())
    assert tiny_pipeline.changed(root, allow_missing=False) == set()
    assert pipeline.stale(root) == []


def test_entries_of_other_stages_stay(root):
    before = locked(root)["stages"]
    edit(root, "[digits, faces]", "[digits, faces, textures]")
    assert run(root) == 0
    after = locked(root)["stages"]
    assert {name: after[name] for name in before if name != "final@default"} == {
        name: entry for name, entry in before.items() if name != "final@default"
    }
    assert after.keys() - before.keys() == {"transfer@default-cnn-textures"}


def test_a_value_that_is_new_runs(root):
    for value in ("[7]", "[8]"):
        ran = (root / "ran.txt").read_text()
        path = root / "params.yaml"
        path.write_text(re.sub(r"seeds: \[.*?\]", f"seeds: {value}", path.read_text()))
        assert run(root) == 0
        new = (root / "ran.txt").read_text().removeprefix(ran).splitlines()
        assert sorted(new) == ["final default", "transfer cnn-digits", "transfer cnn-faces"]


def test_what_only_the_cache_has_is_brought_back_for_those_that_need_it(root):
    shutil.rmtree(root / "data" / "models")
    edit(root, "seeds: [0, 1]", "seeds: [5]")
    assert run(root, DIGITS) == 0
    assert (root / "data/models/default/cnn/rounds/deep/2.txt").read_text() == "two"
    states = {v.stage.name: v.state for v in judge.judge(root)}
    assert states[DIGITS] == judge.UP_TO_DATE


def test_what_dvc_says_against_it_is_told(root):
    one = ledger.Ledger(root)
    one.add("no_such_stage")
    with pytest.raises(RuntimeError, match="no_such_stage"):
        one.close()


def test_telling_takes_a_small_share_of_the_time(root, monkeypatch):
    one, calls = ledger.Ledger(root), []
    call = one._call
    monkeypatch.setattr(one, "_call", lambda *words: calls.append(words) or call(*words))
    one.add("code")
    one.write()
    one.add(DIGITS)
    one.write()
    assert len(calls) == 1  # the first is under way
    one._process.wait()
    one.write()
    assert len(calls) == 1  # and was a moment ago
    one.close()
    assert [words[0] for words in calls] == [["code"], [DIGITS]]
