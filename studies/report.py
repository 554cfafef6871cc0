"""Base of the final notebooks' reports: figures and tables of one study at one scale."""

from typing import Any, ClassVar

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from studies import grid
from studies.claims.verdict import NOT_RUN
from studies.figures import style, tables
from studies.parameters import Parameters
from studies.results import Results
from vpstudy import atomic, paths

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll": "NLL (nats)", "brier": "Brier"}


class Report:
    """Shows the figures and tables of `study`; with `save`, also writes them.

    PNG and tables go to `figures/<scale>/<study>`, in git; SVG and PDF to `data/figures/<scale>/<study>`, in DVC's
    cache. If the parameters have no cell of `stage`, a `LeftOut` replaces the report.
    """

    study: ClassVar[str]
    stage: ClassVar[str | None] = None

    def __new__(cls, parameters: Parameters, save: bool) -> Any:
        if cls.stage and not grid.cells(parameters, cls.stage):
            return LeftOut(parameters, save, cls.study)
        return super().__new__(cls)

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


class LeftOut:
    """Replaces the report of a study that the scale leaves out; its methods do nothing."""

    def __init__(self, parameters: Parameters, save: bool, study: str):
        print(NOT_RUN)
        # DVC expects both folders, and git keeps no empty one
        for place in (paths.FIGURES, paths.VECTORS) if save else ():
            atomic.write_text(place / parameters.scale / study / "not_run.md", f"{NOT_RUN}\n")

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def with_columns(read: Results, *columns: str) -> pd.DataFrame:
    """The frame of results with these columns added: without a finished run, no row has metrics."""
    return read.frame.reindex(columns=list(dict.fromkeys([*read.frame.columns, *columns])))
