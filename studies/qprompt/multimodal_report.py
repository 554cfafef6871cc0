"""Results of MaPLe and QMaPLe for the final qprompt notebook."""

import pandas as pd

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.figures import dots, panels, tables
from studies.parameters import Parameters
from studies.qprompt.evidence import GROUPS, with_harmonic_mean
from studies.qprompt.labels import MAPLE, QMAPLE, words
from studies.report import METRICS, Report
from studies.statistics import summarise
from vpstudy import paths

PUBLISHED = {MAPLE: "MaPLe", QMAPLE: "QMaPLe, 4 bits"}  # the name in data/published/qprompt.csv


class MultimodalReport(Report):
    """Prompts for both towers at one scale: base, new and H on all architectures that have them."""

    study = "qprompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        frame = results.read(grid.cells(parameters, "multimodal")).frame
        self.runs = with_harmonic_mean(frame) if len(frame) else frame

    def dots(self) -> None:
        if self.runs.empty:
            print(NOT_RUN)
            return
        arms = [words(arm) for arm in zip(self.runs["prompter"], self.runs["arm"], strict=True)]
        named = self.runs.assign(row=arms, panel=self.runs["group"], group=self.runs["target"])
        table = summarise(named, ["row", "panel", "group"], "accuracy")
        table = table.sort_values("panel", key=lambda column: column.map(GROUPS.index), kind="stable")
        title, note = "MaPLe and QMaPLe: base, new, and H", panels.seeds_note(self.runs, "bars")
        self.show("multimodal", dots.draw(table, METRICS["accuracy"], title, note, bounds=(0.0, 1.0)))

    def accuracies(self) -> pd.DataFrame | str:
        """Base, new, H and bytes by arm, beside the paper's averages over eleven data sets."""
        if self.runs.empty:
            return NOT_RUN
        paper = pd.read_csv(paths.ROOT / "data" / "published" / "qprompt.csv").set_index("method")
        rows = []
        by = ["backbone", "target", "prompter", "arm", "bytes"]
        for (backbone, target, *arm, size), runs in self.runs.groupby(by, sort=False):
            name = PUBLISHED.get(tuple(arm))
            row = {"backbone": backbone, "target": target, "arm": words(tuple(arm))}
            row |= {line.group: tables.mean_text(line) for line in summarise(runs, ["group"], "accuracy").itertuples()}
            row |= {"runs": runs["seed"].nunique(), "bytes": f"{size:,}"}
            row |= {f"paper, {group}": f"{paper.loc[name, group]:.2f}" if name else "—" for group in GROUPS}
            rows.append(row | {"paper, bytes": f"{paper.loc[name, 'bytes']:,.0f}" if name else "—"})
        return self.table("multimodal", pd.DataFrame(rows))
