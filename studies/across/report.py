"""Report of across: figures and tables from committed results."""

from studies.across import effects
from studies.across.effects import ARM, METRICS, OTHER
from studies.across.figures import FIGURES
from studies.across.tables import SHOWN, TABLES
from studies.parameters import Parameters
from studies.report import Report, with_columns


class AcrossReport(Report):
    """Report on one scale: `runs` (a row each, without controls) and `effects` (from `effects.table`)."""

    study, stage, figures, tables = "across", "quantize_visual_prompt", FIGURES, TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        every = with_columns(self.read, *METRICS, *SHOWN, *ARM, "prompt_bytes", "rms", "learning_rate")
        self.runs = every[~every["arm"].str.endswith(OTHER)]
        self.codebook = parameters.across.settings.codebooks[0]
        self.effects = effects.table(every, self.codebook)
