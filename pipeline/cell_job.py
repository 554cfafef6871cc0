"""From a cell of the grid to the notebook that it runs, and the lists of code that cells depend on."""

from pathlib import Path

from pipeline import fingerprints, normalise
from pipeline.notebook import Job
from studies import grid
from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy import paths
from vpstudy.settings import ParameterError


def asked_for(parameters: Parameters, stage: str, *values: str) -> Cell:
    """The cell that a command names, e.g. `transfer`, `cnn`, `imp-0.80`, `digits`.

    Raises ValueError where there is no such stage, or the parameters ask for no such cell.
    """
    cell = grid.cell(stage, parameters.scale, *values)
    allowed = grid.axes(parameters, stage)
    if wrong := [(axis, value) for axis, value in cell.axes if value not in allowed[axis]]:
        lines = [f"\n  - {axis}: {value!r}; allowed: {', '.join(allowed[axis])}" for axis, value in wrong]
        raise ParameterError(f"{cell.name} is no cell of params.yaml, nothing was run{''.join(lines)}")
    return cell


def job(cell: Cell, parameters: Parameters, removed: tuple[Path, ...] = ()) -> Job:
    """The run of a cell's notebook; final notebooks, which have no axes, are committed."""
    page = paths.NOTEBOOKS / f"{grid.STAGES[cell.stage].notebook}.ipynb"
    values = {"scale": cell.scale, **dict(cell.axes), "save": True}
    declared = normalise.parameters(normalise.read(page))
    cells, finals = paths.CELLS / cell.scale / f"{cell.file}.ipynb", paths.RENDERED / cell.scale / page.name
    return Job(
        name=cell.name,
        notebook=page,
        values={name: value for name, value in values.items() if name in declared},
        output=cells if cell.axes else finals,
        threads=grid.threads(cell.stage, parameters),
        logs=paths.LOGS / cell.scale,
        timing=paths.TIMINGS / cell.scale / f"{cell.name}.json",
        removed=removed,
    )


def write_code_lists() -> dict[str, Path]:
    """Write what each kind of stage depends on of modules and notebooks, and what cells depend on of embedded targets.

    Returns the lists that there are now, by kind.
    """
    notebooks = {kind: paths.NOTEBOOKS / f"{stage.notebook}.ipynb" for kind, stage in grid.STAGES.items()}
    fingerprints.write(notebooks, paths.CODE, paths.TARGETS, paths.ROOT)
    return {kind: paths.CODE / f"{kind}.json" for kind in notebooks}
