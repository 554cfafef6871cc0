"""What `dvc repro` would do, and how long it will take: told in a second, and from within a running stage.

DVC itself takes seconds to import and holds a lock while it works, so that a stage could not ask it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipeline import judge, session
from pipeline.definition import Stage, parents
from vpstudy import paths
from vpstudy.progress import duration

OVERHEAD = 4.0  # seconds that DVC and the start of Python add to a stage


@dataclass(frozen=True)
class Step:
    """A stage of the pipeline and what the next `dvc repro` will do with it."""

    stage: Stage
    state: str  # "up to date"; "will run"; "may run": if a stage before it comes out different
    reason: str  # "" where up to date
    seconds: float  # estimated; 0 where up to date


def stale(root: Path = paths.ROOT, allow_missing: bool = False) -> list[str]:
    """The names of the stages that will or may run, in order; `allow_missing` as in `dvc repro`.

    Raises ValueError where dvc.yaml or dvc.lock cannot be read.
    """
    verdicts = judge.judge(root, allow_missing)
    return [verdict.stage.name for verdict in verdicts if verdict.state != judge.UP_TO_DATE]


def plan(estimates: Mapping[str, float], root: Path = paths.ROOT, timings: Path = paths.TIMINGS) -> list[Step]:
    """Every stage with its state and the seconds it will take.

    Seconds come from `timings`/<stage>.json, written on this machine; else the median of such files of the
    same kind and scale; else `estimates`, seconds by kind (one that is not there takes only the overhead).
    Raises ValueError where dvc.yaml or dvc.lock cannot be read.
    """
    measured = {file.stem: json.loads(file.read_text())["seconds"] for file in timings.glob("*.json")}

    def seconds(stage: Stage) -> float:
        if stage.name in measured:
            return measured[stage.name]
        alike = [value for name, value in measured.items() if name.split("-")[0] == stage.name.split("-")[0]]
        return median(alike) if alike else estimates.get(stage.kind, 0.0)

    return [
        Step(v.stage, v.state, v.reason, 0.0 if v.state == judge.UP_TO_DATE else seconds(v.stage) + OVERHEAD)
        for v in judge.judge(root)
    ]


def progress_line(
    running: str, estimates: Mapping[str, float], root: Path = paths.ROOT, timings: Path = paths.TIMINGS
) -> str:
    """`[12 of 31] transfer@… · about 9 min left`, to be asked once at the start of each stage.

    Counted are the stages of this `dvc` command, those done and those that will or may still run.
    """
    steps = plan(estimates, root, timings)
    wanted = _wanted(steps)
    started = session.start(root, running)
    left = [s for s in steps if s.stage.name == running or (s.seconds and s.stage.name in wanted - {*started})]
    total = len(started) + sum(step.stage.name != running for step in left)
    seconds = sum(step.seconds for step in left) or OVERHEAD
    return f"[{len(started)} of {total}] {running} · about {duration(seconds)} left"


def _wanted(steps: list[Step]) -> set[str]:
    """The stages that the `dvc` command above works on: all, or its targets and what they need."""
    words = session.dvc_words()
    known = [step.stage for step in steps]
    wanted = {stage.name for stage in known if stage.name in words or stage.kind in words}
    if not wanted:
        return {stage.name for stage in known}
    if not {"-s", "--single-item"} & set(words):
        for stage in reversed(known):
            wanted |= {p.name for p in parents(stage, known)} if stage.name in wanted else set()
    return wanted
