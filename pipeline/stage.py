"""What DVC runs: one cell of the grid (`vpstudy run …`), and the lists of code that cells depend on."""

import sys
from pathlib import Path

from pipeline import code, estimates, lock, normalise, notebook, parameters_cell, pipeline, session
from studies import grid
from studies import parameters as study
from studies.cells import Cell
from vpstudy import paths
from vpstudy.settings import ParameterError


def run(stage: str, *values: str) -> None:
    """Run the cell that a command names, e.g. `transfer`, `cnn`, `imp-0.80`, `digits`.

    Everything is checked before a kernel starts.

    Raises
    ------
    ValueError
        If the parameters are wrong in any place, or ask for no such cell.
    NotebookError
        If a cell of the notebook fails, or its kernel dies.
    """
    parameters = study.load(paths.PARAMS)
    cell = _asked_for(grid.cell(stage, parameters.scale, *values), parameters)
    if session.dvc_process():  # what else starts cells keeps dvc.lock, and tells how far it is, itself
        lock.snapshot(paths.ROOT)
        line = pipeline.progress_line(cell.name, estimates.seconds(cell.scale), paths.ROOT, paths.TIMINGS / cell.scale)
        print(line, file=sys.stderr, flush=True)
    page = paths.NOTEBOOKS / f"{grid.STAGES[cell.stage].notebook}.ipynb"
    values = {"scale": cell.scale, **dict(cell.axes), "save": True}
    declared = parameters_cell.types(normalise.read(page))
    notebook.run(
        page,
        {name: value for name, value in values.items() if name in declared},
        output(cell),
        cwd=paths.NOTEBOOKS,
        threads=grid.threads(cell.stage, parameters),
        logs=paths.LOGS / cell.scale,
        timing=paths.TIMINGS / cell.scale / f"{cell.name}.json",
    )


def output(cell: Cell) -> Path:
    """Where the executed notebook of a cell goes: final ones, which have no axes, are committed."""
    if cell.axes:
        return paths.CELLS / cell.scale / f"{cell.file}.ipynb"
    return paths.RENDERED / cell.scale / f"{grid.STAGES[cell.stage].notebook}.ipynb"


def _asked_for(cell: Cell, parameters: study.Parameters) -> Cell:
    if cell in grid.cells(parameters):
        return cell
    allowed = grid.axes(parameters, cell.stage)
    wrong = [
        f"\n  - {axis}: {value!r} is not in params.yaml; allowed: {', '.join(allowed[axis])}"
        for axis, value in cell.axes
        if value not in allowed[axis]
    ]
    raise ParameterError(f"{cell.name} is no cell of params.yaml, nothing was run{''.join(wrong)}")


def code_lists() -> dict[str, Path]:
    """Write what each kind of stage depends on of modules and notebooks; the lists that there are now, by kind.

    And what cells depend on of embedded targets.
    """
    notebooks = {kind: paths.NOTEBOOKS / f"{stage.notebook}.ipynb" for kind, stage in grid.STAGES.items()}
    code.write(notebooks, paths.CODE, paths.ROOT)
    code.write_targets(paths.TARGETS, paths.ROOT)
    return {kind: paths.CODE / f"{kind}.json" for kind in notebooks}
