"""Report of qprompt: figures and tables from committed results."""

import pandas as pd

from studies import grid, results
from studies.parameters import Parameters
from studies.qprompt.evidence import gathered, with_harmonic_mean
from studies.qprompt.figures import FIGURES
from studies.qprompt.tables import TABLES
from studies.report import Report
from studies.statistics import pooled
from vpstudy.training.prompt_learning.registry import PROMPTERS


class QpromptReport(Report):
    """Results of one scale: `runs` with rows for base, new and H, `evidence` by architecture, and runs of other stages.

    Networks that are the only one of their architecture are shown together; `alone` has the runs of each.
    """

    study, stage, figures, tables = "qprompt", "prompt", FIGURES, TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.evidence = gathered(self.runs, self.contents).by_architecture()
        self.alone = with_harmonic_mean(self.runs).reindex(columns=list(dict.fromkeys([*self.runs, "distance"])))
        self.runs = pooled(self.alone)
        self.every_class = {name: self._runs_of_stage(name) for name in ("few_shot", "other_pictures")}
        both = self._runs_of_stage("multimodal")
        self.multimodal = with_harmonic_mean(both) if len(both) else both

    def _runs_of_stage(self, name: str) -> pd.DataFrame:
        runs = results.read(grid.cells(self.parameters, name)).frame
        return pooled(runs) if len(runs) else self.runs.iloc[:0]

    def coverage(self) -> None:
        super().coverage()
        left_out = [content for content in self.contents if "left_out" in content["facts"]]
        cells = {(of["cell"]["prompter"], of["cell"]["target"], of["facts"]["left_out"]) for of in left_out}
        for prompter, target, why in sorted(cells):
            print(f"Left out: {PROMPTERS[prompter].label} on {target}, {why}.")

    def runs_of(self, name: str) -> pd.DataFrame:
        return self.multimodal if name == "multimodal" else self.runs
