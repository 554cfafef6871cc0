"""dvc.lock, kept from being lost: DVC writes it in place, so that a kill in that moment empties or cuts it.

An empty dvc.lock is refused by the next `dvc repro`; the stages that a cut one lacks are run again. What is
restored is always safe: an entry only says which outputs came of which inputs, and DVC checks both.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zc.lockfile

from pipeline import session
from vpstudy import atomic, paths, yaml12

HEADER = "schema: '2.0'\nstages:\n"


def snapshot(root: Path = paths.ROOT) -> None:
    """Copy dvc.lock aside, if it is whole. To be called at the start of each stage.

    The first stage of a `dvc` command also leaves a guard: a small process that waits for the end of that
    command, whatever end it is, and repairs what it may have left.
    """
    text = _read(root / "dvc.lock")
    if text is not None and not _is_damaged(root, text):
        atomic.write_text(_copy(root), text)
    dvc, note = session.dvc_process(), root / ".dvc" / "tmp" / "vpstudy-guard.json"
    if dvc is None or _read(note) == (identity := json.dumps([dvc.pid, dvc.create_time()])):
        return
    atomic.write_text(note, identity)
    subprocess.Popen(
        [sys.executable, "-m", "pipeline.lock", str(root), str(dvc.pid), repr(dvc.create_time())],
        cwd=paths.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # no Ctrl-C reaches it
    )


def guard(root: Path, pid: int, created: float) -> None:
    """Wait for the end of the `dvc` process `pid`, then repair dvc.lock."""
    while session.alive(pid, created):
        time.sleep(0.5)
    repair(root)


def repair(root: Path = paths.ROOT) -> str | None:
    """Restore a damaged dvc.lock from the copy (or the commit), keeping what is whole in it.

    To be called before `dvc`. Returns what was done in one line; None where there was nothing to do, another
    DVC command is at work, or dvc.lock holds an unfinished merge, which is the reader's.
    """
    path = root / "dvc.lock"
    if not path.exists():
        return None
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    try:
        held = zc.lockfile.LockFile(str(root / ".dvc" / "tmp" / "lock"))
    except zc.lockfile.LockError:
        return None
    try:
        text = _read(path)
        if re.search("(?m)^<<<<<<< ", text) or not _is_damaged(root, text):
            return None
        kept = dict(list(_entries(text).items())[:-1])  # the last one may be cut
        restored = _entries(_read(_copy(root)) or _committed(root) or "") | kept
        if not restored:
            path.unlink()
            return "dvc.lock was cut off in its first stage and there is no copy: removed, stages run anew"
        atomic.write_text(path, HEADER + "".join(restored.values()))
        return f"dvc.lock was cut off while DVC wrote it: restored with its {len(restored)} stages"
    finally:
        held.close()


def put(root: Path, text: str) -> None:
    """Put the entries of `text`, a lock file, into dvc.lock: whole or not at all. To be called under DVC's lock."""
    entries = _entries(_read(root / "dvc.lock") or "") | _entries(text)
    atomic.write_text(root / "dvc.lock", HEADER + "".join(entries.values()))
    atomic.write_text(_copy(root), HEADER + "".join(entries.values()))


_held: list[int] = []


def held() -> tuple[int, ...]:
    """What a process that writes down results is to inherit: `alone` lasts until it has ended, too."""
    return tuple(_held)


@contextmanager
def alone(root: Path, seconds: float = 30.0) -> Iterator[None]:
    """Be the one runner of `root`. Raises ValueError where another, or what it left writing, is still at work then."""
    place = root / ".dvc" / "tmp" / "vpstudy-runner"
    place.parent.mkdir(parents=True, exist_ok=True)
    file, deadline = os.open(place, os.O_RDWR | os.O_CREAT), time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = "another `vpstudy repro` is at work here: wait for it, or stop it"
                    raise ValueError(message) from None
                time.sleep(0.2)
        _held.append(file)
        yield
    finally:
        if file in _held:
            _held.remove(file)
        os.close(file)


def _is_damaged(root: Path, text: str) -> bool:
    """Whether `text` is no lock file, or is the copy cut off. What is committed as it stands is whole."""
    return _is_cut(text, _read(_copy(root)) or "") and text != _committed(root)


def _is_cut(text: str, copied: str) -> bool:
    try:
        content = yaml12.load(text)
        if not (text.endswith("\n") and all("cmd" in entry for entry in content["stages"].values())):
            return True
    except (ValueError, TypeError, KeyError, AttributeError):
        return True
    copy, entries = _entries(copied), _entries(text)
    names = list(entries)
    if not names or names != list(copy)[: len(names)]:
        return False
    last = names[-1]
    return len(names) < len(copy) or (copy[last] != entries[last] and copy[last].startswith(entries[last]))


def _entries(text: str) -> dict[str, str]:
    """The text of each stage by its name's line, in order."""
    _, _, body = text.partition("\nstages:\n")
    blocks = re.split(r"(?m)^(?=  [^\s-])", body)
    return {block.partition("\n")[0]: block for block in blocks if block.strip()}


def _copy(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "vpstudy-dvc.lock"


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def _committed(root: Path) -> str | None:
    command = ["git", "-C", str(root), "show", "HEAD:./dvc.lock"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


if __name__ == "__main__":
    guard(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
