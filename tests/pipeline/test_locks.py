"""One dvc.lock a scale: which is in place, which are kept, and what becomes of one that was cut off."""

import pytest

from pipeline import locks
from vpstudy import paths

ENTRY = """\
  {stage}:
    cmd: vpstudy run {stage}
    outs:
    - path: data/notebooks/{stage}.ipynb
      hash: md5
      md5: {digest}
      size: 1
    - path: data/results/{scale}/{stage}.json
      hash: md5
      md5: {digest}
      size: 1
"""


def text(scale, *stages, digest="a" * 32):
    entries = [ENTRY.format(stage=stage, scale=scale, digest=digest) for stage in stages]
    return "schema: '2.0'\nstages:\n" + "".join(entries)


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """The place of dvc.lock in a project of two scales."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "SCALES", tmp_path / "scales")
    for scale in ("default", "smoke"):
        (tmp_path / "scales" / scale).mkdir(parents=True)
    return tmp_path / "dvc.lock"


def kept(scale):
    return paths.SCALES / scale / "dvc.lock"


def test_the_lock_in_place_is_that_of_the_scale_and_the_other_is_kept(lock):
    lock.write_text(text("default", "a", "b"))
    assert locks.settle("smoke") == ""  # which has none yet
    assert not lock.exists() and kept("default").read_text() == text("default", "a", "b")
    lock.write_text(text("smoke", "a"))
    assert locks.settle("default") == ""
    assert lock.read_text() == text("default", "a", "b") and kept("smoke").read_text() == text("smoke", "a")
    lock.write_text(text("default", "a", "b", "c"))
    locks.settle("default")
    assert lock.read_text() == kept("default").read_text() == text("default", "a", "b", "c")


def test_a_lock_cut_at_any_byte_is_restored_and_never_kept(lock):
    whole = text("default", "a", "b", digest="b" * 32)
    kept("default").write_text(text("default", "a", "b"))
    for end in range(len(whole)):
        lock.write_text(whole[:end])
        locks.keep()  # as a cell does that plain `dvc repro` starts
        said = locks.settle("default")
        if lock.read_text() != whole[:end]:
            assert lock.read_text() == kept("default").read_text() == text("default", "a", "b")
            assert "was cut off" in said and "restored with 2 stages" in said
        else:  # all that is lost is the size of the last file
            assert whole[end:] == "      size: 1\n"
            kept("default").write_text(text("default", "a", "b"))


def test_without_a_copy_a_cut_lock_is_removed_and_a_merge_is_left(lock):
    lock.write_text("schema: '2.0'\nstages:\n  a:\n    cm")
    assert "no copy" in locks.settle("default")
    assert not lock.exists() and locks.settle("default") == ""
    lock.write_text("<<<<<<< HEAD\n")
    assert locks.settle("default") == "" and lock.exists()


def test_a_lock_of_no_scale_stays(lock):
    lock.write_text(
        "schema: '2.0'\nstages:\n  code:\n    cmd: vpstudy code\n    outs:\n    - path: x\n      md5: abc\n"
    )
    before = lock.read_text()
    assert locks.settle("default") == "" and lock.read_text() == before
    locks.keep()
    assert not kept("default").exists()
