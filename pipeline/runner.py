"""Runs stages that are out of date on Dask's workers, as many at once as there are cores for, and records them."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, as_completed

from pipeline.stages import Stages
from pipeline.timings import Estimate
from pipeline.workers import CORES, STARTED

SHOW_EVERY = 15.0  # seconds between lines where the terminal is a file


@dataclass
class Runner:
    """Runs the stages named in `waiting`, each after those it depends on.

    Parameters
    ----------
    task
        What a worker calls for a stage, as a function and its arguments. It returns a dictionary with `seconds`, or
        with the `error` that ended it.
    refresh
        Called before inputs of stages are looked at: writes the lists of code anew where modules have changed.
    """

    stages: Stages
    client: Client
    task: Callable[[str], tuple]
    estimate: Estimate
    waiting: list[str]
    cores: int  # of a worker
    refresh: Callable[[], object] = lambda: None
    force: bool = False  # run what is up to date, too
    failed: dict[str, str] = field(default_factory=dict)  # and why
    edited: list[str] = field(default_factory=list)  # what they depend on changed while they ran

    def __post_init__(self) -> None:
        self._ended = as_completed(loop=self.client.loop)
        self._started: dict[str, float] = {}  # by the key of the future
        self.client.subscribe_topic(STARTED, lambda event: self._started.setdefault(event[1], time.monotonic()))
        self._running: dict[str, Future] = {}
        self._inputs: dict[str, Mapping[str, Any]] = {}
        self._done, self._total, self._shown = 0, len(self.waiting), 0.0
        self._left = set(self.waiting)  # not known to be up to date

    def run(self) -> bool:
        """Whether all were run; False where Ctrl-C or SIGTERM came first. What has run is recorded in any case."""
        with _interruptible() as interrupted:
            self._submit()
            while self._running and not interrupted:
                if finished := self._finished():
                    self._submit()  # first, so that workers go on while these are recorded
                    self._record(finished)
                else:
                    time.sleep(0.1)
                self._show()
            if interrupted:
                self._record(self._finished())
                self.client.cancel(list(self._running.values()), force=True)
        self._show(last=True)
        return not interrupted

    def _submit(self) -> None:
        """Send every stage that can run to the workers; one that turns out to be up to date is passed over."""
        self.refresh()
        for name in list(self.waiting):
            if not self._left.isdisjoint(self.stages.parents(name)):
                continue
            self.waiting.remove(name)
            if not self.force and not self.stages.reason(name):
                self._left.discard(name)
                self._total -= 1
            elif not self.force and self.stages.restore(name):
                self._left.discard(name)
                self._done += 1
                self.stages.record([name])
            else:
                self._inputs[name] = self.stages.inputs(name)
                function, *arguments = self.task(name)
                self._running[name] = self.client.submit(
                    function,
                    *arguments,
                    key=f"{name}-{os.getpid()}-{time.time_ns()}",
                    resources={CORES: min(self.estimate.threads(name), self.cores)},
                    priority=self.estimate.longest_ways()[name],
                    pure=False,
                )
                self._ended.add(self._running[name])

    def _finished(self) -> list[str]:
        """The stages that have ended well since the last call; those that have not are told at once."""
        names = {future.key: name for name, future in self._running.items()}
        finished = []
        for future in self._ended.next_batch(block=False):
            name = names[future.key]
            del self._running[name]
            outcome = _outcome(future)
            if "error" in outcome:
                self._fail(name, outcome["error"])
                continue
            self.estimate.learn(name, outcome.get("seconds", 0.0))
            finished.append(name)
            self._left.discard(name)
        return finished

    def _fail(self, name: str, why: str) -> None:
        self.failed[name] = why
        self._tell(f"{name} failed: {why}")
        for other in [other for other in self.waiting if name in self.stages.ancestors(other)]:
            self.waiting.remove(other)

    def _record(self, names: list[str]) -> None:
        self.refresh()
        unchanged = [name for name in names if self.stages.inputs(name) == self._inputs[name]]
        for name in set(names) - set(unchanged):
            self.edited.append(name)
            self._tell(f"{name}: what it depends on changed while it ran, so it will run again")
        if unchanged:
            self.stages.record(unchanged)
            self._done += len(unchanged)

    def _show(self, last: bool = False) -> None:
        terminal = sys.stderr.isatty()
        if not last and time.monotonic() - self._shown < (0.5 if terminal else SHOW_EVERY):
            return
        self._shown = time.monotonic()
        line = f"[{self._done} of {self._total} done]"
        if not last:
            cores = sum(self.client.nthreads().values()) or self.cores
            now, keys = time.monotonic(), {name: future.key for name, future in self._running.items()}
            elapsed = {name: now - self._started[key] for name, key in keys.items() if key in self._started}
            left = self.estimate.words([*self._running, *self.waiting], cores, elapsed)
            line += f" {', '.join(elapsed)} · {left}"
        self._tell(line, passing=not last)

    def _tell(self, line: str, passing: bool = False) -> None:
        if not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)
            return
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if passing else None
        print(f"\r\033[K{line[:width]}", end="" if passing else "\n", file=sys.stderr, flush=True)


def _outcome(future: Future) -> dict[str, Any]:
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else "it was given up"
    return {"error": f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error}


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted in the list that is yielded, and said at once; a second one ends this process."""
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        if seen:
            os._exit(130)  # workers and kernels end with it
        seen.append(number)
        os.write(2, b"\ninterrupted, finishing up (once more ends at once)\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
