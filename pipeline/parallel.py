"""Stages side by side: as many at once as there are cores for, put into dvc.lock a few at a time.

DVC runs one stage after another, and the small networks of this study use one core well and two badly. A stage
weighs as many cores as it has threads, so that a long chain (pretraining, iterative pruning) takes both cores
while it is alone, and cells of the grid take one each. What runs, and with what result, is what plain `dvc repro` does.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline import judge, lock, pipeline
from pipeline.definition import Stage, parents
from pipeline.ledger import Ledger
from vpstudy import paths
from vpstudy.progress import duration

SHOW_EVERY = 15.0  # seconds between lines where the terminal is a file
FEW = 3  # stages that do without warm kernels; children of a stage that can wait to be told


@dataclass
class _Running:
    stage: Stage
    process: subprocess.Popen
    log: IO[str]
    weight: int
    inputs: dict
    started: float = field(default_factory=time.monotonic)


@dataclass
class Runner:
    """Runs every stage that is out of date, or only `targets` and what they need.

    Parameters
    ----------
    weight
        Cores that a stage of this kind takes.
    cores
        Cores that there are; a stage that takes more runs alone.
    command
        Of the process that runs a stage.
    ledger
        Told what has run.
    kernels
        Open while stages run; gives further environment variables of their processes.
    """

    targets: list[str]
    estimates: Mapping[str, float]
    weight: Callable[[str], int]
    cores: int
    root: Path = paths.ROOT
    timings: Path = paths.TIMINGS
    command: Callable[[Stage], list[str]] = lambda stage: [
        sys.executable,
        "-m",
        "pipeline.cli",
        *shlex.split(stage.cmd)[1:],
    ]
    ledger: type[Ledger] = Ledger
    kernels: Callable[[], AbstractContextManager[Mapping[str, str]]] = lambda: nullcontext({})

    def run(self) -> int:
        """Exit code of the first stage that failed; 0 where none did. Stages at work are always waited for.

        Raises ValueError where another runner is at work, or for a target that is no stage.
        """
        with lock.alone(self.root):
            return self._run()

    def _run(self) -> int:
        steps = self._wanted(pipeline.plan(self.estimates, self.root, self.timings))
        due = [step for step in steps if step.state != judge.UP_TO_DATE]
        waiting = [step.stage for step in due]
        after_others = {step.stage.name for step in due if step.state == judge.MAY_RUN}
        seconds = {step.stage.name: step.seconds for step in steps}
        before = {stage.name: {p.name for p in parents(stage, waiting)} for stage in waiting}
        total, running, code, stopped = len(waiting), [], 0, False
        done: set[str] = set()
        spared, shown = 0, 0.0  # stages that turned out not to be needed; when the line below was last shown
        ledger = self.ledger(self.root)
        ledger.bring_back([step.stage for step in steps if step.state == judge.UP_TO_DATE], waiting)

        def left() -> float:
            """Core-seconds that are left over cores: what it takes if no core waits."""
            late = time.monotonic()
            work = sum(seconds[s.name] * min(self.weight(s.kind), self.cores) for s in waiting)
            work += sum(max(0.0, seconds[r.stage.name] - (late - r.started)) * r.weight for r in running)
            return work / self.cores

        kernels = self.kernels() if len(due) > FEW else nullcontext({})
        with kernels as variables, _signals(running) as interrupted:
            while running or (waiting and not code and not interrupted):
                for one in [r for r in running if r.process.poll() is not None]:
                    running.remove(one)
                    done.add(one.stage.name)
                    if one.process.returncode:
                        self._tell(f"{one.stage.name} failed:\n{_tail(one.log)}")
                        code = code or max(1, one.process.returncode)
                    elif changed := self._changed(one):
                        self._tell(f"{one.stage.name}: {changed} changed while it ran: it will run again")
                    else:
                        children = sum(one.stage.name in before[stage.name] for stage in waiting)
                        ledger.add(one.stage.name, one.inputs, urgent=children > FEW)
                    one.log.close()
                free = self.cores - sum(r.weight for r in running)
                for stage in list(waiting):
                    ready = not code and not interrupted and before[stage.name] <= done
                    if not ready or (running and min(self.weight(stage.kind), self.cores) > free):
                        continue
                    waiting.remove(stage)
                    if stage.name in after_others and not judge.changed(stage, self.root):
                        done.add(stage.name)
                        spared += 1
                        continue
                    running.append(self._start(stage, variables))
                    free -= running[-1].weight
                    shown = 0.0
                ledger.write()
                names = ", ".join(r.stage.name for r in running)
                line = f"[{len(done) - spared} of {total - spared} done] {names} · about {duration(left())} left"
                if running and time.monotonic() - shown >= (1.0 if sys.stderr.isatty() else SHOW_EVERY):
                    self._tell(line, passing=True)
                    shown = time.monotonic()
                time.sleep(0.1)
            stopped = bool(interrupted)
            ledger.close()
        self._tell(f"[{len(done) - spared} of {total - spared} done]" + (" · stopped" if stopped else ""))
        return code or (130 if stopped else 0)

    def _wanted(self, steps: list[pipeline.Step]) -> list[pipeline.Step]:
        if not self.targets:
            return steps
        known = [step.stage for step in steps]
        wanted = {s.name for s in known if s.name in self.targets or s.kind in self.targets}
        if unknown := [t for t in self.targets if t not in {s.name for s in known} | {s.kind for s in known}]:
            kinds = ", ".join(dict.fromkeys(stage.kind for stage in known))
            raise ValueError(f"{', '.join(unknown)}: no such stage; `vpstudy plan` lists them (kinds: {kinds})")
        for stage in reversed(known):
            wanted |= {p.name for p in parents(stage, known)} if stage.name in wanted else set()
        return [step for step in steps if step.stage.name in wanted]

    def _changed(self, one: _Running) -> str | None:
        now = judge.inputs(one.stage, self.root)
        before = one.inputs["deps"] | one.inputs["params"]
        return next((k for k, v in (now["deps"] | now["params"]).items() if v != before[k]), None)

    def _start(self, stage: Stage, variables: Mapping[str, str]) -> _Running:
        for out in stage.outs:  # as DVC does: what a folder held before must not be taken for what this run made
            if not out.persistent:
                _remove(self.root / out.path)
        inputs = judge.inputs(stage, self.root)
        log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed at the stage's end)
        process = subprocess.Popen(
            self.command(stage),
            cwd=self.root,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )
        return _Running(stage, process, log, min(self.weight(stage.kind), self.cores), inputs)

    @staticmethod
    def _tell(line: str, passing: bool = False) -> None:
        drawn = sys.stderr.isatty()
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if drawn and passing else None
        print(
            f"\r\033[K{line[:width]}" if drawn else line,
            end="" if drawn and passing else "\n",
            file=sys.stderr,
            flush=True,
        )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _signals(running: list[_Running]) -> Iterator[list[int]]:
    """Ctrl-C reaches the stages by itself, SIGTERM is passed on; both are noted in the list that is yielded."""
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        for one in running:
            if number == signal.SIGTERM:
                one.process.terminate()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tail(log: IO[str], lines: int = 40) -> str:
    log.seek(0)
    return "".join(log.readlines()[-lines:])


def _die_with_parent() -> None:
    """On Linux the kernel ends this process when the runner dies, whatever killed that: nothing is left at work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
