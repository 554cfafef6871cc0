"""Stages run without DVC stand in dvc.lock, and in DVC's cache, as if DVC had run them."""

import re
import shutil
from pathlib import Path

import pytest
import tiny_pipeline
from ruamel.yaml import YAML

from pipeline import definition, judge, ledger, parallel, pipeline

made, root = tiny_pipeline.made, tiny_pipeline.root
DIGITS = "transfer@cnn-digits"


def run(root: Path, *targets: str) -> int:
    return parallel.Runner(list(targets), {}, weight=lambda kind: 1, cores=2, root=root).run()


def locked(root: Path) -> dict:
    return YAML(typ="safe").load((root / "dvc.lock").read_text())


def now(root: Path) -> dict[str, dict]:
    """What each stage would run with."""
    return {stage.name: judge.inputs(stage, root) for stage in definition.stages(root)}


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
    assert {name: after[name] for name in before if name != "final"} == {
        name: entry for name, entry in before.items() if name != "final"
    }
    assert after.keys() - before.keys() == {"transfer@cnn-textures"}


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


def test_one_that_cannot_be_written_down_is_told_and_costs_no_other(root, capfd):
    one, inputs = ledger.Ledger(root), now(root)
    (root / "dvc.lock").unlink()
    one.add("no_such_stage", inputs["code"])
    one.add("code", inputs["code"])
    one.close()
    assert "no_such_stage" in capfd.readouterr().err
    assert set(locked(root)["stages"]) == {"code"}


@pytest.mark.parametrize("undone", [False, True])
def test_what_ran_with_other_inputs_than_there_are_now_is_not_written_down(root, undone, capfd):
    """Parameters or modules may be edited between the start of a stage and the moment when DVC is told of it."""
    before = locked(root)
    module, one = root / "vpstudy" / "two.py", ledger.Ledger(root)
    text = module.read_text()
    if undone:  # it ran with the edited module, which is gone again
        module.write_text(text.replace("two = 2", "two = 3"))
        inputs = now(root)
        module.write_text(text)
    else:
        inputs = now(root)
        edit(root, "seeds: [0, 1]", "seeds: [9]")
    one.add(DIGITS, inputs[DIGITS])
    one.close()
    assert locked(root) == before
    assert f"{DIGITS}: what it depends on changed" in capfd.readouterr().err


def test_a_list_of_code_that_is_not_of_this_code_is_out_of_date(root):
    path = root / "data/code/transfer.json"
    text = path.read_text()
    path.write_text(text.replace(text.split('"')[3], "0" * 16))  # of the same size
    assert {v.stage.name for v in judge.judge(root) if v.state == judge.WILL_RUN} >= {"code"}


def test_two_runners_do_not_work_at_once(root):
    alone, said = ledger.lock.alone, "another `vpstudy repro` is at work"
    with alone(root), pytest.raises(ValueError, match=said), alone(root, seconds=0.3):
        pytest.fail("two at once")
    with alone(root, seconds=0.3):
        assert ledger.lock.held()
    assert not ledger.lock.held()


def test_telling_takes_a_small_share_of_the_time(root, monkeypatch):
    one, calls, inputs = ledger.Ledger(root), [], now(root)
    call = one._call
    monkeypatch.setattr(one, "_call", lambda ran: calls.append(list(ran)) or call(ran))
    one.add("code", inputs["code"])
    one.write()
    one.add(DIGITS, inputs[DIGITS])
    one.write()
    assert len(calls) == 1  # the first is under way
    one._process.wait()
    one.write()
    assert len(calls) == 1  # and was a moment ago
    one.close()
    assert calls == [["code"], [DIGITS]]
