"""Published claims: how each is measured (findings), its p value and its verdict.

Findings are effects of paired differences between runs of the same source checkpoint, target and seed. Differences are
averaged with equal weights over targets (fixed effects), which leaves one value per seed or source checkpoint.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from studies.claims.verdict import LEVEL, Effect, Test, holm

ON = ["source_seed", "seed", "target"]  # shared by the two runs of a pair


@dataclass(frozen=True)
class Finding:
    """An effect, pooled and by target, with a label of the comparison."""

    label: str
    effect: Effect
    targets: dict[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One published claim."""

    id: str
    statement: str
    published: str
    estimand: str
    test: Test
    unit: str
    measure: Callable[[Any], list[Finding]]  # primary findings, all of which must hold; none if cells are missing
    beside: Callable[[Any], list[Finding]] = lambda _: []  # secondary findings, which decide nothing
    any_target: bool = False  # claims an effect on *some* targets: each is tested, one is enough
    by_design: bool = False  # holds by the design of this study: shown, but not in Holm's correction
    # why the runs cannot test the claim, or None; an untested claim has no verdict and is not in Holm's correction
    untested: Callable[[Any], str | None] = lambda _: None

    def p(self, findings: list[Finding]) -> float:
        """The largest p value over findings; with `any_target`, a finding has its smallest after Holm over targets."""
        if self.any_target:
            return max(min(self._p_of_targets(each)) for each in findings)
        return max(self.test.p(each.effect) for each in findings)

    def _p_of_targets(self, found: Finding) -> list[float]:
        return holm([self.test.p(effect) for effect in found.targets.values()])

    def verdict_on_each(self, findings: list[Finding], p_holm: float) -> list[str]:
        """The verdict on each finding or, with `any_target`, on each target."""
        if not self.any_target:
            return [self.test.verdict(each.effect, p_holm, LEVEL / len(findings)) for each in findings]
        return [
            self.test.verdict(effect, max(p_holm, p))
            for each in findings
            for effect, p in zip(each.targets.values(), self._p_of_targets(each), strict=True)
        ]

    def verdict(self, findings: list[Finding], p_holm: float) -> str:
        """One target reproduces an `any_target` claim; one finding contradicts any other claim."""
        verdicts = ("reproduced", "inconclusive", "contradicted")
        order = verdicts if self.any_target else verdicts[::-1]
        return min(self.verdict_on_each(findings, p_holm), key=order.index)


def replicates(values: pd.DataFrame) -> np.ndarray:
    """One value per seed (mean over targets) or, if there are several, per source checkpoint."""
    of_targets = values.groupby(ON)["value"].mean()
    of_seeds = of_targets.groupby(["source_seed", "seed"]).mean()
    of_sources = of_seeds.groupby("source_seed").mean()
    return (of_sources if len(of_sources) > 1 else of_seeds).to_numpy()


def finding(label: str, values: pd.DataFrame, pooled: Iterable[str] | None = None) -> Finding:
    """The effect over the targets `pooled` (None: all) and on each target; columns `ON` and value."""
    targets = list(dict.fromkeys(values["target"]))
    inside = values[values["target"].isin(targets if pooled is None else list(pooled))]
    of_target = {target: Effect.of(replicates(values[values["target"] == target])) for target in targets}
    return Finding(label, Effect.of(replicates(inside)), of_target)


def compared(label: str, pairs: pd.DataFrame, asked: int, lost: str) -> Finding:
    """The finding of `pairs` (columns `ON` and difference) out of `asked` pairs.

    The label counts the missing pairs, in the words of `lost`; without pairs, the effect is `Effect.none()`.
    """
    missing = f" ({asked - len(pairs)} of {asked} pairs {lost})" if len(pairs) < asked else ""
    values = pairs.rename(columns={"difference": "value"})
    return finding(label + missing, values) if len(pairs) else Finding(label + missing, Effect.none())
