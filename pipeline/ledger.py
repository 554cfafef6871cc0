"""What DVC is told of stages that ran without it: by processes of its own, seldom enough to cost little."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline import lock
from pipeline.definition import Stage
from vpstudy import paths

SHARE = 0.1  # of the time, at most, that telling takes one core


class Ledger:
    """Stages that ran and stand in no dvc.lock yet; at most one process at a time tells DVC of them."""

    def __init__(self, root: Path):
        self.root, self.pending = root, {}
        self._process: subprocess.Popen | None = None
        self._began, self._next, self._urgent = 0.0, 0.0, False

    def add(self, name: str, inputs: dict, urgent: bool = False) -> None:
        """`urgent`: much depends on it, so that it is told at once."""
        self.pending[name] = inputs
        self._urgent = self._urgent or urgent

    def write(self, wait: bool = False) -> None:
        """Tell DVC of what is pending, if the last telling is long enough ago; with `wait`, at once and to the end.

        Raises RuntimeError with what DVC said where it failed.
        """
        if wait:
            self._finish(wait=True)
        elif not self._finish() or (time.monotonic() < self._next and not self._urgent):
            return
        if self.pending:
            self._began = time.monotonic()
            self._process, self.pending, self._urgent = self._call(self.pending), {}, False
        if wait:
            self._finish(wait=True)

    def close(self) -> None:
        self.write(wait=True)

    def bring_back(self, finished: Iterable[Stage], waiting: Iterable[Stage]) -> None:
        """Have DVC check out what `waiting` stages need of `finished` ones and only its cache still has."""
        needed = {dep for stage in waiting for dep in stage.deps}
        lost = [
            out.path
            for stage in finished
            for out in stage.outs
            if out.cached and out.path in needed and not (self.root / out.path).exists()
        ]
        if lost:
            command = [sys.executable, "-m", "dvc", "--quiet", "checkout", *lost]
            subprocess.run(command, cwd=self.root, check=True)

    def _finish(self, wait: bool = False) -> bool:
        """Whether no telling is under way."""
        if self._process is None:
            return True
        if not wait and self._process.poll() is None:
            return False
        process, self._process = self._process, None
        error = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(f"DVC could not be told what has run:\n{error[-2000:]}")
        if error:
            print(error, end="", file=sys.stderr)
        self._next = time.monotonic() + (time.monotonic() - self._began) / SHARE
        return True

    def _call(self, ran: dict[str, dict]) -> subprocess.Popen:
        # In a session of its own: Ctrl-C stops the stages, and what has run is still told.
        path = os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")]))
        told = tempfile.TemporaryFile("w+")  # noqa: SIM115 (the process reads on after this call)
        json.dump(ran, told)
        told.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.record"],
            cwd=self.root,
            stdin=told,
            pass_fds=lock.held(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
