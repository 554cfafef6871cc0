"""Base of the final notebooks' reports: figures and tables of one study at one scale."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.figures import style, tables
from studies.parameters import Parameters
from studies.results import Results
from vpstudy import atomic, paths

# depends on vpstudy/compression/families, whose labels are found by name

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll": "NLL (nats)", "brier": "Brier"}
NOT_YET = "nothing has been run yet: `make repro` makes everything"


class Report:
    """Shows the figures and tables of `study`; with `save`, also writes them.

    PNG and tables go to `figures/<scale>/<study>`, in git; SVG and PDF to `data/figures/<scale>/<study>`, in DVC's
    cache. If the parameters have no cell of `stage`, or none has a result yet, a `LeftOut` replaces the report. While
    some cells have no result, a method that cannot do without them says so in place of its figure or table.
    """

    study: ClassVar[str]
    stage: ClassVar[str | None] = None

    def __new__(cls, parameters: Parameters, save: bool) -> Any:
        cells = grid.cells(parameters, cls.stage) if cls.stage else []
        if cls.stage and not cells:
            return LeftOut(
                NOT_RUN, [place / parameters.scale / cls.study for place in (paths.FIGURES, paths.VECTORS) if save]
            )
        if cells and not any(results.path(cell).exists() for cell in cells):
            return LeftOut("\n".join([NOT_YET, *results.not_made(cells)]), [])
        return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        for name, method in vars(cls).items():
            if callable(method) and not name.startswith("_"):
                setattr(cls, name, _as_far_as_possible(method))

    def __init__(self, parameters: Parameters, save: bool):
        self.parameters, self.save = parameters, save
        self.folder, self.vectors = (place / parameters.scale / self.study for place in (paths.FIGURES, paths.VECTORS))

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Return `table` for display; with `save`, write it as CSV and Markdown unless it is empty."""
        if self.save and len(table):
            tables.save(table, name, self.folder)
        return table

    def show(self, name: str, figure: Figure) -> None:
        """Show `figure`; with `save`, also write it."""
        if self.save:
            style.save(figure, name, self.folder, self.vectors)
        display(figure)


def _as_far_as_possible(method: Callable) -> Callable:
    """`method`, whose errors are one line while results are missing that the report reads."""

    @wraps(method)
    def tolerant(self: Report, *args: Any, **options: Any) -> Any:
        try:
            return method(self, *args, **options)
        except (LookupError, ValueError, StopIteration):
            cells = [cell for cell in grid.cells(self.parameters) if cell.study in (self.study, "backbones")]
            missing = [cell for cell in cells if cell.axes and not results.path(cell).exists()]
            if not missing:
                raise
            print("not shown, as results are missing that it needs", *results.not_made(missing), sep="\n")

    return tolerant


class LeftOut:
    """Replaces the report of a study without results, and says why; its methods do nothing."""

    def __init__(self, why: str, folders: list[Path]):
        print(why)
        for folder in folders:  # DVC expects them, and git keeps no empty one
            atomic.write_text(folder / "not_run.md", f"{why}\n")

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def with_columns(read: Results, *columns: str) -> pd.DataFrame:
    """The frame of results with these columns added: without a finished run, no row has metrics."""
    return read.frame.reindex(columns=list(dict.fromkeys([*read.frame.columns, *columns])))
