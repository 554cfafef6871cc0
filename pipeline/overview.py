"""The plan in words: which cells there are, what a run would do, and for how long."""

from collections import Counter

from pipeline import estimates, parallel, pipeline
from pipeline.pipeline import Step
from studies import grid
from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.progress import duration

NAMED = 3  # stages out of date for the same reason are named up to here, and counted beyond


def table(parameters: Parameters) -> list[str]:
    """The grid, a line for each kind of stage, and why stages will run."""
    steps = _steps(parameters)
    widest = ("transfer", "prune_with_prompts", "prompt", "quantize_visual_prompt")
    grids = [grid.axes(parameters, stage) for stage in widest]
    axes = "; ".join(" × ".join(_counted(len(values), axis) for axis, values in each.items()) for each in grids)
    cells = len(grid.cells(parameters))
    lines = [f"Scale {parameters.scale}: {cells} cells ({axes}), {len(steps)} stages", ""]
    lines += [f"  {'stage':<20}{'stages':>8}{'will run':>10}{'may run':>10}{'time':>12}"]
    for kind in dict.fromkeys(step.stage.kind for step in steps):
        lines.append(_line(kind, [step for step in steps if step.stage.kind == kind], parameters))
    lines.append(_line("all", steps, parameters))
    lines += _reasons([step for step in steps if step.state == "will run"])
    if any(step.state == "may run" for step in steps):
        lines += ["", "Those that may run do so only if what comes before them turns out different."]
    return [*lines, "", summary(parameters, steps)]


def summary(parameters: Parameters, steps: list[Step] | None = None) -> str:
    """How many stages will run and for how long, in one line."""
    steps = _steps(parameters) if steps is None else steps
    due = [step for step in steps if step.seconds]
    if not due:
        return f"Scale {parameters.scale}: all {len(steps)} stages are up to date"
    time = duration(_seconds(due, parameters))
    return f"Scale {parameters.scale}: {len(due)} of {len(steps)} stages to run, about {time}"


def _steps(parameters: Parameters) -> list[Step]:
    return pipeline.plan(estimates.seconds(parameters.scale), paths.ROOT, paths.TIMINGS / parameters.scale)


def _seconds(steps: list[Step], parameters: Parameters) -> float:
    """What it takes if no core ever waits."""
    cores = parallel.cores()
    return sum(step.seconds * min(grid.threads(step.stage.kind, parameters), cores) for step in steps) / cores


def _line(name: str, steps: list[Step], parameters: Parameters) -> str:
    states = Counter(step.state for step in steps)
    seconds = _seconds(steps, parameters)
    time = duration(seconds) if seconds else ""
    counts = [f"{states[state] or '':>10}" for state in ("will run", "may run")]
    return f"  {name:<20}{len(steps):>8}{''.join(counts)}{time:>12}".rstrip()


def _reasons(due: list[Step]) -> list[str]:
    """Why stages will run, those of one kind with the same reason in one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for step in due:
        groups.setdefault((step.stage.kind, step.reason), []).append(step.stage.name)
    lines = [
        f"  {', '.join(names) if len(names) <= NAMED else _counted(len(names), f'{kind} stage')}: {reason}"
        for (kind, reason), names in groups.items()
    ]
    return ["", "Out of date:", *lines] if lines else []


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
