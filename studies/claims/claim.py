"""A published claim: what it measures (findings), its p value and its verdict.

Findings are effects of paired differences: between runs of the same source checkpoint, target and seed. Differences are
averaged with equal weights over targets, which are fixed effects; one value is left for each seed or source checkpoint.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from studies.claims.verdict import LEVEL, Effect, Test, holm

ON = ["source_seed", "seed", "target"]  # what two runs share that are compared in a pair


@dataclass(frozen=True)
class Finding:
    """An effect, pooled and target by target, with a label for what was compared."""

    label: str
    effect: Effect
    targets: dict[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes
    ----------
    measure
        From the evidence of its study to the primary findings, all of which must hold; none if cells are lacking.
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

    def p(self, findings: list[Finding]) -> float:
        """The largest p value, as all must hold; of a claim on some target, the smallest after Holm over targets."""
        if self.any_target:
            return max(min(self._p_of_targets(each)) for each in findings)
        return max(self.test.p(each.effect) for each in findings)

    def _p_of_targets(self, found: Finding) -> list[float]:
        return holm([self.test.p(effect) for effect in found.targets.values()])

    def verdict_on_each(self, findings: list[Finding], p_holm: float) -> list[str]:
        """The verdict on each finding; of a claim on some target, on each target."""
        if not self.any_target:
            return [self.test.verdict(each.effect, p_holm, LEVEL / len(findings)) for each in findings]
        return [
            self.test.verdict(effect, max(p_holm, p))
            for each in findings
            for effect, p in zip(each.targets.values(), self._p_of_targets(each), strict=True)
        ]

    def verdict(self, findings: list[Finding], p_holm: float) -> str:
        """One target is enough to reproduce a claim on some target, one finding to contradict any other."""
        verdicts = ("reproduced", "inconclusive", "contradicted")
        order = verdicts if self.any_target else verdicts[::-1]
        return min(self.verdict_on_each(findings, p_holm), key=order.index)


def replicates(values: pd.DataFrame) -> np.ndarray:
    """One value a replicate: a seed (means over targets), or a source checkpoint if there are several."""
    of_targets = values.groupby(ON)["value"].mean()
    of_seeds = of_targets.groupby(["source_seed", "seed"]).mean()
    of_sources = of_seeds.groupby("source_seed").mean()
    return (of_sources if len(of_sources) > 1 else of_seeds).to_numpy()


def finding(label: str, values: pd.DataFrame, pooled: Iterable[str] | None = None) -> Finding:
    """The effect over the targets `pooled` (None: all), and that of each target; columns `ON` and value."""
    targets = list(dict.fromkeys(values["target"]))
    inside = values[values["target"].isin(targets if pooled is None else list(pooled))]
    of_target = {target: Effect.of(replicates(values[values["target"] == target])) for target in targets}
    return Finding(label, Effect.of(replicates(inside)), of_target)


def compared(label: str, pairs: pd.DataFrame, asked: int, lost: str) -> Finding:
    """The finding of the pairs (columns `ON` and difference) that are left of those `asked` for.

    The label counts those that were `lost`, in words; if none is left, the effect is `Effect.none()`.
    """
    missing = f" ({asked - len(pairs)} of {asked} pairs {lost})" if len(pairs) < asked else ""
    values = pairs.rename(columns={"difference": "value"})
    return finding(label + missing, values) if len(pairs) else Finding(label + missing, Effect.none())
