"""Report of across: figures and tables from committed results."""

from studies.across import effects
from studies.across.effects import ARM, METRICS, OTHER
from studies.across.figures import FIGURES
from studies.across.tables import SHOWN, TABLES
from studies.figures import compressions
from studies.parameters import Parameters
from studies.report import Report, with_columns

COMPARED = {effects.COST: "What quantizing costs", effects.DEPENDENCE: "What it costs more than on the dense network"}


class AcrossReport(Report):
    """Report on one scale: `runs` (a row each, without controls) and `effects` (from `effects.table`)."""

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
