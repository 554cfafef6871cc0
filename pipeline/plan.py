"""The plan in words: which cells there are, what a run would do, why, and for how long."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.timings import Estimate
from studies import grid
from studies.parameters import Parameters
from vpstudy.progress import duration

if TYPE_CHECKING:  # DVC is heavy
    from pipeline.stages import Stages

NAMED = 3  # stages out of date for the same reason are named up to here, and counted beyond


def size(parameters: Parameters) -> str:
    """How many cells a scale has: `65 cells (1 source, 1 imp, 8 compress, …)`."""
    stages = Counter(cell.stage for cell in grid.cells(parameters))
    return f"{stages.total()} cells ({', '.join(f'{number} {name}' for name, number in stages.items())})"


def plan(
    parameters: Parameters, stages: "Stages", estimate: Estimate, threads: Callable[[str], int], cores: int
) -> list[str]:
    """The stages that a run would bring up to date, by kind, and the reasons."""
    opening = f"Scale {parameters.scale}: {size(parameters)}"
    if not stages.has_cache() and len(stages.out_of_date(stages.by_name)) == len(stages.by_name):
        return [opening, "", *_fresh(stages)]
    due = stages.out_of_date(stages.by_name)
    if not due:
        return [opening, "", f"All {len(stages.by_name)} stages are up to date"]
    lines = [opening, "", f"  {'stage':<22}{'stages':>8}{'to run':>8}{'time':>14}"]
    for kind in dict.fromkeys(name.split("@")[0] for name in stages.by_name):
        every = [name for name in stages.by_name if name.split("@")[0] == kind]
        run = [name for name in every if name in due]
        lines.append(
            f"  {kind:<22}{len(every):>8}{len(run) or '':>8}{_time(run, estimate, threads, cores):>14}".rstrip()
        )
    total = _time(list(due), estimate, threads, cores)
    return [
        *lines,
        "",
        "Out of date:",
        *_reasons(due),
        "",
        f"{len(due)} of {len(stages.by_name)} stages to run, {total}",
    ]


def _fresh(stages: "Stages") -> list[str]:
    changed = stages.out_of_date(stages.by_name, allow_missing=True)
    lines = ["Nothing has been run here yet: `vpstudy repro` runs all of them."]
    if not any(out.hash_info for stage in stages.by_name.values() for out in stage.outs):
        return [*lines, "No results of this scale are committed, and no time is known before the first run."]
    if changed:
        return [*lines, "Committed results are not of these parameters and this code:", *_reasons(changed)]
    return [*lines, "Committed results are of these parameters and this code. No time is known before the first run."]


def _time(names: list[str], estimate: Estimate, threads: Callable[[str], int], cores: int) -> str:
    if not names:
        return ""
    seconds = estimate.left(names, threads, cores)
    return f"about {duration(seconds)}" if seconds is not None else "no time known"


def _reasons(due: dict[str, str]) -> list[str]:
    """Why stages will run, those of one kind with the same reason in one line; those that only follow are left out."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, reason in due.items():
        if not reason.startswith("after "):
            groups.setdefault((name.split("@")[0], reason), []).append(name)
    return [
        f"  {', '.join(names) if len(names) <= NAMED else f'{len(names)} {kind} stages'}: {reason}"
        for (kind, reason), names in groups.items()
    ]
