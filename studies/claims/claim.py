"""What claims are made of: the results of a scale, paired changes, findings, and the claim itself.

A run's *change* is its value less that of the dense run with the same backbone, source checkpoint, target, method,
budget and seed. Where a compression has recovered by distillation, that run is of a dense network that had the same
treatment. Changes are averaged with equal weights, over budgets and then over targets, which are fixed effects;
what is left is one value for each seed of each source checkpoint.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from studies.claims.verdict import Effect, Test
from studies.statistics import against_dense
from vpstudy.compression.names import parse

ON = ["source_seed", "seed", "target"]  # what two ways to do a thing share where they are compared in pairs


@dataclass(frozen=True)
class Evidence:
    """The results of one study at one scale, of one backbone.

    Attributes
    ----------
    runs
        Tidy, a row for each run, controls included.
    backbones
        A row for each compression and source checkpoint: upstream accuracy.
    test_pictures, classes
        By target: how many there are, and their names.
    source_classes
        Their names.
    """

    runs: pd.DataFrame
    backbones: pd.DataFrame
    test_pictures: dict[str, int]
    classes: dict[str, list[str]]
    source_classes: list[str]

    @property
    def sparsest(self) -> str | None:
        """Of iterative pruning; a backbone from elsewhere has no rounds: of one-shot pruning with recovery."""
        pruned = [parse(name) for name in self.runs["compression"].unique()]
        for family in ("imp", "magnitude_distilled"):
            if rounds := [each for each in pruned if each.family == family]:
                return max(rounds, key=lambda each: each.sparsity).name
        return None

    def has(self, *names: str) -> list[str]:
        return [name for name in names if name in set(self.runs["compression"])]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """The paired changes of the runs that finished: source_seed, seed, target, budget, value."""
        runs = self.runs[self.runs["method"] == method]
        recovered = parse(compression).family == "magnitude_distilled" and self.has("dense_distilled")
        dense = "dense_distilled" if recovered else "dense"
        runs = runs[runs["compression"].isin([dense, compression])].replace({"compression": {dense: "dense"}})
        changes = against_dense(runs, metric)
        changes = changes[changes["status"] == "ok"]
        return changes.rename(columns={"difference": "value"})[["source_seed", "seed", "target", "budget", "value"]]


@dataclass(frozen=True)
class Finding:
    """An effect, in all and target by target, with what it was measured on."""

    label: str
    effect: Effect
    targets: dict[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes
    ----------
    measure
        From the evidence of its study to the primary findings, all of which must hold; none where the scale lacks what
        it takes.
    beside
        Findings that are shown with it and decide nothing.
    any_target
        It says that *some* targets show the effect, so each is tested and one is enough.
    by_design
        It holds by the design of this study: shown, but no part of Holm's correction.
    untested
        Why the runs cannot speak to the claim although they were made, e.g. because what it is about never happened in
        them; None if they can. Such a claim has no verdict and is no part of Holm's correction.
    """

    id: str
    statement: str
    published: str
    estimand: str
    test: Test
    unit: str
    measure: Callable[[Any], list[Finding]]
    beside: Callable[[Any], list[Finding]] = lambda _: []
    any_target: bool = False
    by_design: bool = False
    untested: Callable[[Any], str | None] = lambda _: None


def replicates(values: pd.DataFrame) -> np.ndarray:
    """One value a replicate: a seed (means over targets), or a source checkpoint where there are several."""
    of_targets = values.groupby(["source_seed", "seed", "target"])["value"].mean()
    of_seeds = of_targets.groupby(["source_seed", "seed"]).mean()
    of_sources = of_seeds.groupby("source_seed").mean()
    return (of_sources if len(of_sources) > 1 else of_seeds).to_numpy()


def compared(label: str, pairs: pd.DataFrame, asked: int, lost: str) -> Finding:
    """The finding of the pairs that are left (columns `ON` and difference) of so many that were `asked` for.

    The label counts those that were `lost`, in words; where none is left, the effect is none.
    """
    missing = f" ({asked - len(pairs)} of {asked} pairs {lost})" if len(pairs) < asked else ""
    values = pairs.rename(columns={"difference": "value"})
    return finding(label + missing, values) if len(pairs) else Finding(label + missing, Effect.none())


def finding(label: str, values: pd.DataFrame, pooled: Iterable[str] | None = None) -> Finding:
    """The effect over `pooled` targets (all, if not given), and that of each target."""
    targets = list(dict.fromkeys(values["target"]))
    inside = values[values["target"].isin(targets if pooled is None else list(pooled))]
    of_target = {target: Effect.of(replicates(values[values["target"] == target])) for target in targets}
    return Finding(label, Effect.of(replicates(inside)), of_target)
