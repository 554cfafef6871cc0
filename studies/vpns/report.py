"""Report of vpns: figures and tables from committed results."""

from studies.figures.tables import USUAL
from studies.parameters import Parameters
from studies.report import Report, with_columns
from studies.statistics import pooled
from studies.vpns.figures import FIGURES
from studies.vpns.tables import TABLES


class VpnsReport(Report):
    """Results of one scale; `runs` has a row for each cell, source checkpoint, arm, sparsity, seed and view.

    Networks that are the only one of their architecture are shown together (`pooled`); layers and prompts are those of
    the first.
    """

    study, stage, figures, tables = "vpns", "prune_with_prompts", FIGURES, TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.settings = parameters.vpns.settings
        self.runs = pooled(with_columns(self.read, *USUAL, "collapsed", "passes"))
