"""The results of the protocols beside base-to-new, for the final notebook of the qprompt study."""

import pandas as pd
from IPython.display import display

from studies import grid, results
from studies.claims.claim import ON
from studies.claims.verdict import NOT_RUN
from studies.figures import style, tables
from studies.parameters import Parameters
from studies.qprompt import cell_figures
from studies.qprompt.claims import words
from studies.statistics import paired, summarise
from vpstudy import paths


def read(parameters: Parameters) -> pd.DataFrame:
    """The tidy frame of the cells of `protocol`; without rows where none was run."""
    cells = grid.cells(parameters, "protocol")
    return results.read(cells).frame if cells else pd.DataFrame()


class ProtocolResults:
    """Few-shot learning, domain shift and transfer across data sets, at one scale."""

    def __init__(self, parameters: Parameters, save: bool):
        self.save, self.folder = save, paths.FIGURES / parameters.scale / "qprompt"
        self.frame = read(parameters)
        records = results.read_records(grid.cells(parameters, "protocol"))
        self.rows: dict[str, list[dict]] = {}
        for record in records.values():
            named = [row | {"arm": _in_words(row["arm"])} for row in record["rows"]]
            self.rows.setdefault(record["cell"]["protocol"], []).extend(named)

    def show(self, protocol: str) -> None:
        """The figure of a protocol, all source checkpoints and seeds in it."""
        rows = self.rows.get(protocol)
        if not rows:
            print(NOT_RUN)
            return
        figure = cell_figures.by_shots(rows) if protocol == "few_shot" else cell_figures.by_group(rows)
        if self.save:
            style.save(figure, f"protocol_{protocol}", self.folder)
        display(figure)

    def table(self, protocol: str) -> pd.DataFrame | str:
        """Accuracy ± half of the 95 % interval, a line for each arm, and each quantized one less CoOp, in pairs.

        Intervals are over source checkpoints, the means of their seeds, where there are several, as in `summarise`.
        """
        if protocol not in self.rows:
            return NOT_RUN
        table = accuracies(self.frame[self.frame["protocol"] == protocol], protocol)
        if self.save:
            tables.save(table, f"protocol_{protocol}", self.folder)
        return table


def accuracies(runs: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The table of a protocol from its runs: a line for each arm, and one for each quantized arm less CoOp."""
    by = "budget" if protocol == "few_shot" else "group"
    arms = dict(list(runs.groupby("arm", sort=False)))
    learned = runs[runs["arm"] != cell_figures.ZERO_SHOT]
    columns = list(dict.fromkeys(learned[by]))
    lines = []
    for arm, of in arms.items():
        told = {line[1]: tables.mean_text(line) for line in summarise(of, [by, "arm"], "accuracy").itertuples()}
        # The hand-written prompt learns from no pictures: it is the same at each number of them.
        lines.append({"arm": _in_words(arm)} | {column: told.get(column, told.get("0", "—")) for column in columns})
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
    """An arm of these cells, as `words` says those of the cells of base-to-new."""
    return arm if arm == cell_figures.ZERO_SHOT else words(("coop" if arm == "full" else "qcoop", arm))
