"""The evidence for the claims of hidden_cost: results of one architecture, and paired changes against dense.

A run's *change* is its value less that of the dense run with the same backbone, source checkpoint, target, method,
budget and seed; after recovery by distillation, of a dense network that was distilled, too.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from studies import grid, results
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import against_dense
from vpstudy.compression.registry import parse

RUN = ["source_seed", "seed", "target", "budget"]  # what identifies a run of one method and compression


@dataclass(frozen=True)
class Evidence:
    """The results of one architecture at one scale.

    Attributes
    ----------
    runs
        Tidy, a row for each run, controls included.
    backbones
        A row for each compression and source checkpoint: upstream accuracy.
    facts
        By target, those of a transfer cell: classes, source_classes, and how many pictures there are for what.
    """

    runs: pd.DataFrame
    backbones: pd.DataFrame
    facts: dict[str, dict[str, Any]]

    @property
    def sparsest(self) -> str | None:
        """Of iterative pruning, else of one-shot pruning with recovery."""
        pruned = [parse(name) for name in self.runs["compression"].unique()]
        for family in ("imp", "magnitude_distilled"):
            if rounds := [each for each in pruned if each.family == family]:
                return max(rounds, key=lambda each: each.sparsity).name
        return None

    def has(self, *names: str) -> list[str]:
        return [name for name in names if name in set(self.runs["compression"])]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """The paired changes of the runs that finished: `RUN`, value."""
        runs = self.runs[self.runs["method"] == method]
        recovered = parse(compression).family == "magnitude_distilled" and self.has("dense_distilled")
        dense = "dense_distilled" if recovered else "dense"
        runs = runs[runs["compression"].isin([dense, compression])].replace({"compression": {dense: "dense"}})
        changes = against_dense(runs, metric)
        changes = changes[changes["status"] == "ok"]
        return changes.rename(columns={"difference": "value"})[[*RUN, "value"]]


def evidence(parameters: Parameters, read: Results) -> dict[str, Evidence]:
    """By architecture, from the results of the transfer cells."""
    facts = {dict(cell.axes)["target"]: content["facts"] for cell, content in read.contents.items()}
    backbones = results.read(grid.cells(parameters, "compress")).frame.rename(columns={"accuracy": "upstream_accuracy"})
    return {
        name: Evidence(runs, backbones[backbones["backbone"] == name], facts)
        for name, runs in read.frame.groupby("backbone", sort=False)
    }
