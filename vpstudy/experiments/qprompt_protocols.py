"""The results of the protocols beside base-to-new, for the final notebook of the qprompt study."""

import numpy as np
import pandas as pd
from IPython.display import display

from vpstudy import grid, paths, results
from vpstudy.claims.qprompt import words
from vpstudy.claims.verdict import NOT_RUN
from vpstudy.figures import protocol_cell, style, tables
from vpstudy.parameters.study import Parameters


def read(parameters: Parameters) -> pd.DataFrame:
    """The tidy frame of the cells of `protocol`; without rows where none was run."""
    cells = grid.cells(parameters, "protocol")
    return results.read(cells).frame if cells else pd.DataFrame()


class ProtocolResults:
    """Few-shot learning, domain shift and transfer across data sets, at one scale."""

    def __init__(self, parameters: Parameters, save: bool):
        self.save, self.folder = save, paths.FIGURES / parameters.scale / "qprompt"
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
        figure = protocol_cell.by_shots(rows) if protocol == "few_shot" else protocol_cell.by_group(rows)
        if self.save:
            style.save(figure, f"protocol_{protocol}", self.folder)
        display(figure)

    def table(self, protocol: str) -> pd.DataFrame | str:
        """Mean accuracy ± standard deviation over checkpoints and seeds: a line for each arm."""
        rows = self.rows.get(protocol)
        if not rows:
            return NOT_RUN
        by = "budget" if protocol == "few_shot" else "group"
        arms = list(dict.fromkeys(row["arm"] for row in rows))
        columns = list(dict.fromkeys(row[by] for row in rows if by != "budget" or row[by] != "0"))
        lines = [{"arm": arm} | {column: _told(rows, arm, by, column) for column in columns} for arm in arms]
        table = pd.DataFrame(lines).rename(columns={"all": "as learned"})
        if self.save:
            tables.save(table, f"protocol_{protocol}", self.folder)
        return table


def _in_words(arm: str) -> str:
    """An arm of these cells, as `words` says those of the cells of base-to-new."""
    return arm if arm == protocol_cell.ZERO_SHOT else words(("coop" if arm == "full" else "qcoop", arm))


def _told(rows: list[dict], arm: str, by: str, column: str) -> str:
    """The hand-written prompt learns from no pictures: it is the same at each number of them."""
    mine = [row for row in rows if row["arm"] == arm and row["status"] == "ok"]
    values = [
        row["metrics"]["accuracy"]
        for row in mine
        if row[by] == column or (by == "budget" and arm == protocol_cell.ZERO_SHOT)
    ]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "—"
