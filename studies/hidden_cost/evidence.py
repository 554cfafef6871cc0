"""Evidence for the claims of hidden_cost: results of one architecture, and paired changes against dense.

A *change* is a run's value minus that of the dense run with the same backbone, source checkpoint, target, method,
budget and seed. A compression that trains on is compared with the dense network that was trained as long.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from studies import grid, results
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import PAIRED_BY, paired
from vpstudy.compression.registry import parse

RUN = ["source_seed", "seed", "target", "budget"]  # identifies a run within a method and compression


@dataclass(frozen=True)
class Evidence:
    """The results of one architecture at one scale."""

    runs: pd.DataFrame  # one row per run, controls included
    backbones: pd.DataFrame  # upstream accuracy, one row per compression and source checkpoint
    facts: dict[str, dict[str, Any]]  # by target, from a transfer cell: classes, source_classes, pictures per split

    @property
    def sparsest(self) -> str | None:
        """The sparsest network of iterative pruning, else of one-shot pruning with recovery."""
        pruned = [parse(name) for name in self.runs["compression"].unique()]
        for family in ("imp", "magnitude_distilled"):
            if rounds := [each for each in pruned if each.family == family]:
                return max(rounds, key=lambda each: each.sparsity).name
        return None

    def has(self, *names: str) -> list[str]:
        return [name for name in names if name in set(self.runs["compression"])]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """Paired changes of the runs that finished: columns `RUN` and value."""
        runs = self.runs[self.runs["method"] == method]
        control = parse(compression).control or "dense"
        one, other = (runs[runs["compression"] == name] for name in (compression, control))
        changes = paired(one, other, PAIRED_BY, metric)
        changes = changes[changes["status"] == "ok"]
        return changes.rename(columns={"difference": "value"})[[*RUN, "value"]]


def evidence(parameters: Parameters, read: Results) -> dict[str, Evidence]:
    """Evidence by architecture; `read` holds the transfer cells."""
    facts = {dict(cell.axes)["target"]: content["facts"] for cell, content in read.contents.items()}
    backbones = results.read(grid.cells(parameters, "compress")).frame.rename(columns={"accuracy": "upstream_accuracy"})
    return {
        name: Evidence(runs, backbones[backbones["backbone"] == name], facts)
        for name, runs in read.frame.groupby("backbone", sort=False)
    }
