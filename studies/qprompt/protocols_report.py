"""Few-shot learning, domain shift and transfer across data sets, for the final qprompt notebook."""

import pandas as pd

from studies import grid, results
from studies.claims.claim import ON
from studies.claims.verdict import NOT_RUN
from studies.figures import tables
from studies.parameters import Parameters
from studies.qprompt import cell_figures
from studies.qprompt.labels import ZERO_SHOT, words
from studies.report import Report
from studies.statistics import paired, summarise


class ProtocolsReport(Report):
    """Results of the `protocol` cells at one scale."""

    study = "qprompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.runs = results.read(grid.cells(parameters, "protocol")).frame

    def _of(self, protocol: str) -> pd.DataFrame:
        return self.runs[self.runs["protocol"] == protocol] if len(self.runs) else self.runs

    def figure(self, protocol: str) -> None:
        """Every arm of a protocol, over all source checkpoints and seeds."""
        runs = self._of(protocol)
        if runs.empty:
            print(NOT_RUN)
            return
        draw = cell_figures.by_shots if protocol == "few_shot" else cell_figures.by_group
        self.show(f"protocol_{protocol}", draw(runs.assign(arm=runs["arm"].map(_in_words))))

    def accuracies(self, protocol: str) -> pd.DataFrame | str:
        """Accuracy ± half the 95 % interval of each arm, and paired differences between quantized arms and CoOp."""
        runs = self._of(protocol)
        if runs.empty:
            return NOT_RUN
        return self.table(f"protocol_{protocol}", accuracies(runs, "budget" if protocol == "few_shot" else "group"))


def accuracies(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row for each arm and each quantized arm minus CoOp, a column for each value of `by`."""
    arms = dict(list(runs.groupby("arm", sort=False)))
    columns = list(dict.fromkeys(runs.loc[runs["arm"] != ZERO_SHOT, by]))
    lines = []
    for arm, of in arms.items():
        means = {line[1]: tables.mean_text(line) for line in summarise(of, [by, "arm"], "accuracy").itertuples()}
        # The hand-written prompt is the same at each number of pictures.
        lines.append({"arm": _in_words(arm)} | {column: means.get(column, means.get("0", "—")) for column in columns})
    for arm, of in arms.items():
        if arm.startswith("qat-") and "full" in arms:
            pairs = paired(of, arms["full"], [*ON, by], "accuracy")
            effects = {line[1]: line for line in summarise(pairs, [by, "target"], "difference").itertuples()}
            lines.append(
                {"arm": f"{_in_words(arm)} − {_in_words('full')}"}
                | {key: tables.interval_text(effects[key]) if key in effects else "—" for key in columns}
            )
    return pd.DataFrame(lines).rename(columns={"all": "as learned"})


def _in_words(arm: str) -> str:
    """Label of an arm, as `words` gives it for base-to-new."""
    return arm if arm == ZERO_SHOT else words(("coop" if arm == "full" else "qcoop", arm))
