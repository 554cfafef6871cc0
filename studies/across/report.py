"""Reports of across: figures and tables from committed results."""

from typing import Any

from studies import grid
from studies.across import effects, towers
from studies.across.effects import ARM, METRICS, OTHER
from studies.across.figures import FIGURES
from studies.across.tables import SHOWN, TABLES
from studies.figures import compressions, tables
from studies.parameters import Parameters
from studies.report import Report, with_columns
from studies.statistics import pooled

COMPARED = {effects.COST: "What quantizing costs", effects.DEPENDENCE: "What it costs more than on the dense network"}


class _Part(Report):
    """One of two parts that share a folder: "not run" is written there only if neither has cells."""

    def __new__(cls, parameters: Parameters, save: bool) -> Any:
        parts = (AcrossReport, TowersReport)
        return super().__new__(cls, parameters, save and not any(grid.cells(parameters, part.stage) for part in parts))


class AcrossReport(_Part):
    """Visual prompts at one scale: `runs` (a row each, without controls) and `effects` (from `effects.table`)."""

    study, stage, figures, tables = "across", "quantize_visual_prompt", FIGURES, TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        every = with_columns(self.read, *METRICS, *SHOWN, *ARM, "prompt_bytes", "rms", "learning_rate")
        self.runs = every[~every["arm"].str.endswith(OTHER)]
        self.codebook = parameters.across.settings.codebooks[0]
        self.effects = effects.table(every, self.codebook)

    def conclusions(self) -> str:
        """To how many bits a border may be rounded, and counts of what the effects say by comparison and metric."""
        cost = self.effects[(self.effects["comparison"] == effects.COST) & (self.effects["metric"] == "accuracy")]
        lines = [
            f"- {backbone}, {compressions.label(compression)}: rounding the border after training "
            + (f"to {fewest} bits or more" if fewest else "to any number of bits tried")
            + (" keeps" if fewest else " is not shown to keep")
            + f" accuracy within ±{effects.MARGIN:g}."
            for (backbone, compression), of in cost.groupby(["backbone", "compression"], sort=False)
            for fewest in [effects.fewest_bits(of, self.codebook)]
        ]
        for (comparison, metric), of in self.effects.groupby(["comparison", "metric"], sort=False):
            if comparison in COMPARED:
                counts = ", ".join(f"{count} {words}" for words, count in of["words"].value_counts().items())
                lines.append(f"- {COMPARED[comparison]} in {metric}, {len(of)} effects: {counts}.")
        return "\n".join(lines)


class TowersReport(_Part):
    """Text prompts at one scale: `alone` (the runs of each network), `runs` (as `pooled`) and `effects`."""

    study, stage, figures, tables = "across", "prompt_on_compressed", towers.FIGURES, towers.TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.alone = towers.with_h(self.runs)
        self.runs = pooled(self.alone)
        self.effects = towers.table(self.runs)

    def conclusions(self) -> str:
        """Whether few bits cost more on each compressed tower."""
        more = self.effects[self.effects["comparison"] == towers.MORE]
        return "\n".join(
            f"- {towers.compression_label(row.compression)}, {row.group}: {towers.label(row.arm, row.bits)} less CoOp, "
            f"against dense: {tables.interval_text(row)}, {row.words}."
            for row in more.itertuples()
        )
