"""What every final notebook does: rest on one scale, show figures and tables, and keep them."""

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from vpstudy import paths
from vpstudy.figures import style, tables
from vpstudy.parameters.base import ParameterError
from vpstudy.parameters.study import load
from vpstudy.results import Results

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll": "NLL (nats)", "brier": "Brier"}


class Final:
    """The parameters of a scale, and the folder of a study's figures, which fills where `save`.

    Raises
    ------
    ParameterError
        If `params.yaml` holds another scale.
    """

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


def with_columns(read: Results, *columns: str) -> pd.DataFrame:
    """The frame of results with these columns too: where every run diverged, no row has metrics."""
    return read.frame.reindex(columns=list(dict.fromkeys([*read.frame.columns, *columns])))
