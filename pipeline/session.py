"""The `dvc` command that started this process, and what it has done so far."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from vpstudy import atomic


def dvc_process() -> psutil.Process | None:
    """The nearest process above this one that is a `dvc` command; None where there is none."""
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(os.path.basename(word) == "dvc" for word in words[:3]):
            return process
    return None


def alive(pid: int, created: float) -> bool:
    """Whether the process `pid` that was created then (seconds) still works."""
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def dvc_words() -> list[str]:
    """The words of that command, empty where there is none."""
    dvc = dvc_process()
    return dvc.cmdline() if dvc else []


def start(root: Path, stage: str) -> list[str]:
    """Note that `stage` starts, and return all that this `dvc` command has started, in order."""
    dvc, place = dvc_process(), root / ".dvc" / "tmp" / "vpstudy-session.json"
    if dvc is None:
        return [stage]
    identity = [dvc.pid, dvc.create_time()]
    try:
        noted = json.loads(place.read_text())
    except (FileNotFoundError, ValueError):
        noted = {}
    started = noted["stages"] if noted.get("dvc") == identity else []
    started = [*(name for name in started if name != stage), stage]
    atomic.write_json(place, {"dvc": identity, "stages": started})
    return started


def wait_for_killed(root: Path, seconds: float = 5.0) -> None:
    """Wait until the processes that hold DVC's locks are gone, at most so long.

    One that was just killed takes a moment to go, and DVC would refuse to start beside it as beside one at work.
    """
    place, deadline = root / ".dvc/tmp/rwlock", time.monotonic() + seconds
    held = {int(pid) for pid in re.findall(r'"pid": (\d+)', place.read_text())} if place.exists() else set()
    while time.monotonic() < deadline and any(psutil.pid_exists(pid) for pid in held):
        time.sleep(0.2)


@contextmanager
def stop_with_dvc() -> Iterator[None]:
    """Send this process SIGTERM when the `dvc` above it dies.

    Killed with `kill -9`, dvc leaves its stages running, and the next `dvc repro` would start them once more
    beside those.
    """
    dvc, done = dvc_process(), threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            if not alive(dvc.pid, dvc.create_time()):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    if dvc is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
