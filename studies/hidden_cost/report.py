"""Report of hidden_cost: figures and tables from committed results."""

import pandas as pd

from studies import grid, results
from studies.claims.claim import NETWORK
from studies.figures.sentences import Drawn
from studies.hidden_cost.admission import admitted
from studies.hidden_cost.evidence import evidence
from studies.hidden_cost.figures import FIGURES
from studies.hidden_cost.screening import is_noise, responds
from studies.hidden_cost.tables import TABLES
from studies.parameters import Parameters
from studies.report import Report
from vpstudy.training.controls import CONTROLS


class HiddenCostReport(Report):
    """Report on one scale: `runs`, `controls`, and `backbones` (a row per compression and source checkpoint).

    `real` are the results of a real network beside these.
    """

    study, stage, figures, tables = "hidden_cost", "transfer", FIGURES, TABLES

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.real = results.read(grid.cells(parameters, "real_network"))
        self.responds = responds(self.runs, parameters.hidden_cost.screening.fall)  # by target that was screened
        self.noisy, self.runs = self.runs, self.runs[~is_noise(self.runs)]
        is_control = self.runs["method"].isin(CONTROLS)
        self.runs, self.controls = self.runs[~is_control], self.runs[is_control]
        compressed = results.read(grid.cells(parameters, "compress")).contents
        self.backbones = pd.DataFrame(map(_backbone, compressed))
        if len(self.backbones):
            self.backbones = self.backbones[~is_noise(self.backbones)].reset_index(drop=True)
            # those that collapsed stay out of claims, and figures show them hollow
            self.backbones["admitted"] = admitted(self.backbones, parameters.hidden_cost.admission)
            of_network = self.backbones[[*NETWORK, "compression", "admitted"]]
            self.runs = self.runs.merge(of_network, how="left", on=[*NETWORK, "compression"])

        self.evidence = evidence(parameters, self.read)

    def coverage(self) -> None:
        super().coverage()
        for note in (*self.real.notes(), *(self.evidence.notes if self.evidence else ())):
            print(note)

    def drawn(self, name: str) -> dict[str, Drawn | None]:
        """The figures of dose and response and of a real network are one each, whatever the architectures."""
        of_all = name in ("dose_response", "real_network")
        return {name: FIGURES[name](self, self.runs)} if of_all else super().drawn(name)


def _backbone(content: dict) -> dict:
    cell, facts, upstream = content["cell"], content["facts"], content["rows"][0]["metrics"]
    identity = {name: cell[name] for name in (*NETWORK, "compression")}
    flat = {key: value for key, value in facts.items() if key != "layers"}
    return identity | flat | {f"upstream_{name}": value for name, value in upstream.items()}
