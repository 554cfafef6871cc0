import contextlib
import os
import subprocess
import sys
import time

import pytest
import tiny_pipeline
import zc.lockfile

from pipeline import lock, pipeline
from vpstudy import paths, yaml12

made, root = tiny_pipeline.made, tiny_pipeline.root


def stages(text):
    return yaml12.load(text)["stages"]


def git(root, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def test_a_whole_lock_is_left_alone(root):
    before = (root / "dvc.lock").read_bytes()
    assert lock.repair(root) is None
    lock.snapshot(root)
    assert lock.repair(root) is None
    assert (root / "dvc.lock").read_bytes() == before


def test_a_lock_cut_at_any_byte_is_restored_whole(root, monkeypatch):
    monkeypatch.setattr(lock, "_committed", lambda root: None)  # asks git, each time
    whole = (root / "dvc.lock").read_text()
    lock.snapshot(root)
    for end in range(0, len(whole.encode()), 97):
        (root / "dvc.lock").write_bytes(whole.encode()[:end])
        assert "restored" in lock.repair(root)
        assert (root / "dvc.lock").read_text() == whole
        assert pipeline.stale(root) == []
    (root / "dvc.lock").write_text(whole.removesuffix("\n"))
    assert lock.repair(root)
    assert tiny_pipeline.repro(root) == []


@pytest.mark.parametrize("first_time", [False, True])
def test_cut_while_a_stage_was_noted_all_others_are_whole_again(root, monkeypatch, first_time):
    """The copy is older by one stage, whose entry DVC renews in its place, or adds at the end."""
    monkeypatch.setattr(lock, "_committed", lambda root: None)  # asks git, each time
    text = (root / "dvc.lock").read_text()
    changed = "source@cnn"
    entry = lock._entries(text)[f"  {changed}:"]
    if first_time:
        before = text.replace(entry, "")
        after = before + entry
    else:
        before, after = text.replace(entry, entry.replace("md5: ", "md5: 0", 1)), text
    lines = [index + 1 for index, letter in enumerate(after[:-1]) if letter == "\n"]
    for end in [*lines[::4], *range(0, len(after), 211)]:
        (root / ".dvc" / "tmp" / "vpstudy-dvc.lock").unlink(missing_ok=True)
        (root / "dvc.lock").write_text(before)
        lock.snapshot(root)
        (root / "dvc.lock").write_text(after[:end])
        lock.repair(root)
        restored = stages((root / "dvc.lock").read_text())
        assert {name: restored.get(name) for name in stages(after) if name != changed} == {
            name: value for name, value in stages(after).items() if name != changed
        }


def test_dvc_goes_on_with_a_restored_lock_and_runs_only_what_it_lacks(root):
    text = (root / "dvc.lock").read_text()
    entries = lock._entries(text)
    (root / "dvc.lock").write_text(text.replace(entries["  final:"], ""))
    lock.snapshot(root)  # as the stage `final` starts
    (root / "dvc.lock").write_text("")  # and DVC is killed as it writes
    assert lock.repair(root) == "dvc.lock was cut off while DVC wrote it: restored with its 4 stages"
    assert tiny_pipeline.repro(root) == ["final"]
    assert stages((root / "dvc.lock").read_text()) == stages(text)


def test_a_damaged_lock_is_never_copied(root):
    whole = (root / "dvc.lock").read_text()
    lock.snapshot(root)
    for damaged in ("", whole[: len(whole) // 2], "stages: [", "schema: '2.0'\nstages:\n"):
        (root / "dvc.lock").write_text(damaged)
        lock.snapshot(root)
        lock.repair(root)
        assert (root / "dvc.lock").read_text() == whole


def test_without_a_copy_the_commit_serves_and_without_both_it_is_removed(root):
    whole = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(whole[:20])
    assert "removed" in lock.repair(root)
    assert not (root / "dvc.lock").exists()
    (root / "dvc.lock").write_text(whole)
    git(root, "init")
    git(root, "add", "dvc.lock")
    git(root, "commit", "-m", "a")
    (root / "dvc.lock").write_text(whole[: len(whole) // 2])
    assert "restored" in lock.repair(root)
    assert (root / "dvc.lock").read_text() == whole


def test_an_older_commit_checked_out_is_left_alone(root):
    whole = (root / "dvc.lock").read_text()
    older = whole.replace(lock._entries(whole)["  final:"], "")
    git(root, "init")
    for text in (older, whole):
        (root / "dvc.lock").write_text(text)
        git(root, "add", "dvc.lock")
        git(root, "commit", "-m", "a")
    lock.snapshot(root)
    git(root, "checkout", "HEAD~1")
    assert lock.repair(root) is None
    assert (root / "dvc.lock").read_text() == older
    lock.snapshot(root)  # and is what a stage that runs now starts from
    (root / "dvc.lock").write_text(older[: len(older) // 2])
    lock.repair(root)
    assert (root / "dvc.lock").read_text() == older


def test_an_unfinished_merge_is_the_readers(root):
    merge = "<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n"
    lock.snapshot(root)
    (root / "dvc.lock").write_text(merge)
    assert lock.repair(root) is None
    assert (root / "dvc.lock").read_text() == merge


def test_while_dvc_works_nothing_is_repaired(root):
    lock.snapshot(root)
    (root / "dvc.lock").write_text("")
    with contextlib.closing(zc.lockfile.LockFile(str(root / ".dvc" / "tmp" / "lock"))):
        assert lock.repair(root) is None
    assert lock.repair(root)


def test_no_lock_is_no_damage(root):
    (root / "dvc.lock").unlink()
    lock.snapshot(root)
    assert lock.repair(root) is None
    assert not (root / "dvc.lock").exists()


def test_when_dvc_is_killed_its_lock_is_restored_at_once(root):
    whole = (root / "dvc.lock").read_text()
    stage = f"from pipeline import lock; import pathlib; lock.snapshot(pathlib.Path({str(root)!r}))"
    dvc = root / "dvc"  # a command of that name, which runs two stages and then hangs in writing dvc.lock
    dvc.write_text(
        "import subprocess, sys, time\n"
        "for _ in range(2):\n    subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
        "open('dvc.lock', 'w').close()\nprint('hangs', flush=True)\ntime.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    command = [sys.executable, str(dvc), stage]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env=environment) as killed:
        try:
            assert killed.stdout.readline() == "hangs\n"
            assert (root / "dvc.lock").read_text() == ""
        finally:
            killed.kill()
    deadline = time.monotonic() + 30
    while (root / "dvc.lock").read_text() != whole:
        assert time.monotonic() < deadline
        time.sleep(0.1)
