"""The plan in words: which cells there are, what a run would do, why, and for how long."""

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.timings import Estimate
from studies import grid
from studies.parameters import Parameters
from vpstudy.progress import duration

if TYPE_CHECKING:  # DVC is heavy
    from pipeline.stages import Stages

NAMED = 3  # stages of a kind, or their reasons, are named up to here


def size(parameters: Parameters) -> str:
    """How many cells a scale has: `65 cells (1 source, 1 imp, 8 compress, …)`."""
    stages = Counter(cell.stage for cell in grid.cells(parameters))
    return f"{stages.total()} cells ({', '.join(f'{number} {name}' for name, number in stages.items())})"


def plan(stages: "Stages", estimate: Estimate, cores: int) -> list[str]:
    """The stages that a run would bring up to date, by kind, and the reasons."""
    due, every = stages.out_of_date(stages.by_name), len(stages.by_name)
    if not due:
        return [f"All {every} stages are up to date"]
    seconds = estimate.left(due, cores)
    if seconds is None and len(due) == every:
        return [
            f"Nothing has been run here yet: `vpstudy repro` runs all {every} stages. No time is known before that."
        ]
    kinds: dict[str, dict[str, str]] = {}
    for name, reason in due.items():
        if not reason.startswith("after "):
            kinds.setdefault(name.split("@")[0], {})[name] = reason
    following = len(due) - sum(map(len, kinds.values()))
    time = "no time known" if seconds is None else f"about {duration(seconds)}"
    guessed = list(dict.fromkeys(name.split("@")[0] for name in due if estimate.seconds(name) is None))
    if seconds is not None and guessed:
        time += f", a guess for {_some(guessed)}"
    return [
        f"{len(due)} of {every} stages to run, {time}:",
        *(f"  {_reasons(kind, reasons)}" for kind, reasons in kinds.items()),
        *([f"  {following} that depend on these, if they come out otherwise"] if following else []),
    ]


def _reasons(kind: str, reasons: dict[str, str]) -> str:
    distinct = list(dict.fromkeys(reasons.values()))
    who = ", ".join(reasons) if len(reasons) <= NAMED else f"{len(reasons)} {kind} stages"
    return f"{who}: {_some(distinct)}"


def _some(words: list[str]) -> str:
    """The first of them, and whether there are more."""
    return f"{', '.join(words[:NAMED])}{', …' if len(words) > NAMED else ''}"
