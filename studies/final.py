"""What every final notebook does: rest on one scale, show figures and tables, and keep them."""

from typing import Any, ClassVar

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from studies import grid
from studies.claims.verdict import NOT_RUN
from studies.figures import style, tables
from studies.parameters import load
from studies.results import Results
from vpstudy import atomic, paths
from vpstudy.settings import ParameterError

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll": "NLL (nats)", "brier": "Brier"}


class Final:
    """The parameters of a scale, and the folder of a study's figures, which fills where `save`.

    Where the scale has no cell of `stage`, which is the study's own, a `LeftOut` is made in its place.

    Raises
    ------
    ParameterError
        If `params.yaml` holds another scale.
    """

    stage: ClassVar[str | None] = None

    def __new__(cls, scale: str, save: bool, *of: str) -> Any:
        parameters = load()
        if cls.stage and parameters.scale == scale and not grid.cells(parameters, cls.stage):
            return LeftOut(scale, save, grid.STAGES[cls.stage].study)  # no `cls`, so not initialised again
        return super().__new__(cls)

    def __init__(self, scale: str, save: bool, study: str):
        self.parameters = load()
        if self.parameters.scale != scale:
            raise ParameterError(
                f"scale: {scale!r} was asked for, but params.yaml holds {self.parameters.scale!r}; "
                f"`python -m vpstudy scale {scale}` puts it in place"
            )
        self.scale, self.save, self.folder = scale, save, paths.FIGURES / scale / study

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Show a table, and keep it as CSV and Markdown where the pipeline runs the notebook."""
        if self.save:
            tables.save(table, name, self.folder)
        return table

    def show(self, name: str, figure: Figure) -> None:
        """Show a figure, and keep it where the pipeline runs the notebook."""
        if self.save:
            style.save(figure, name, self.folder)
        display(figure)


class LeftOut(Final):
    """In place of a study that the scale leaves out: it says so, once, and whatever it is asked shows nothing."""

    def __init__(self, scale: str, save: bool, study: str):
        super().__init__(scale, save, study)
        print(NOT_RUN)
        if save:  # the pipeline looks for the folder, and git keeps none that is empty
            atomic.write_text(self.folder / "not_run.md", f"{NOT_RUN}\n")

    def table(self, name: str, table: None) -> None:
        """No table."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def with_columns(read: Results, *columns: str) -> pd.DataFrame:
    """The frame of results with these columns too: where every run diverged, no row has metrics."""
    return read.frame.reindex(columns=list(dict.fromkeys([*read.frame.columns, *columns])))
