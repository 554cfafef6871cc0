"""Published claims: how each is measured (findings), and what the findings say.

Findings are effects of paired differences between runs of the same network, target and seed. Differences are averaged
with equal weights over targets (fixed effects) and then over seeds, which leaves one value per network; with a single
network, one per seed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from studies.claims.verdict import LEVEL, Effect, Test, power

NETWORK = ["backbone", "source_seed"]  # an architecture and its source checkpoint
ON = [*NETWORK, "seed", "target"]  # shared by the two runs of a pair


@dataclass(frozen=True)
class Finding:
    """An effect, pooled, by target and by network, with a label of the comparison."""

    label: str
    effect: Effect
    targets: dict[str, Effect] = field(default_factory=dict)
    networks: dict[str, Effect] = field(default_factory=dict)  # each over its seeds
    collapsed: int = 0  # networks or pairs left out because a network collapsed

    def with_pictures(self, left_out: list["Finding"]) -> "Finding":
        """With intervals over test pictures too: `left_out` holds this finding without each block of them."""
        targets, networks = (
            {name: one.with_pictures([getattr(f, kind)[name] for f in left_out]) for name, one in of.items()}
            for kind, of in (("targets", self.targets), ("networks", self.networks))
        )
        effect = self.effect.with_pictures([each.effect for each in left_out])
        return Finding(self.label, effect, targets, networks, self.collapsed)


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
    later: str = ""  # which of its rules was set after a run had been seen, and which run
    # why the runs cannot test the claim, or None; an untested claim has no verdict and is not in Holm's correction
    untested: Callable[[Any], str | None] = lambda _: None
    margin: Callable[[Any], float] = lambda _: 0.0  # what null controls show: `Test.nothing`
    # sizes of published effects, > 0: of each finding, or one that all should reach; none where no number is published
    sizes: tuple[float, ...] = ()

    def on(self, evidence: Any) -> "Claim":
        """The claim with the margin of its null controls in this evidence."""
        return replace(self, test=replace(self.test, nothing=round(self.margin(evidence), 12)))

    def p(self, findings: list[Finding]) -> tuple[float, float]:
        """The p values for and against the claim, over findings or, with `any_target`, over targets.

        What must hold everywhere has the largest p value of its parts; what may hold anywhere, their smallest times
        their number. A target counts for an `any_target` claim only with an estimate as large as the claim asks.
        """
        if not self.any_target:
            for_it, against = zip(*(self.test.p(each.effect) for each in findings), strict=True)
            return max(for_it), min(1.0, len(against) * min(against))
        effects = [effect for each in findings for effect in each.targets.values()] or [Effect.none()]
        for_it, against = zip(*map(self.test.p, effects), strict=True)
        large = [p if self.test.large(effect) else 1.0 for p, effect in zip(for_it, effects, strict=True)]
        return min(1.0, len(effects) * min(large)), max(against)

    def published_sizes(self, findings: list[Finding]) -> list[float]:
        """The size of the published effect of each finding; [] where no number is published."""
        return list(self.sizes) if len(self.sizes) in (0, len(findings)) else [min(self.sizes)] * len(findings)

    def power(self, findings: list[Finding], sizes: list[float] | None = None) -> float:
        """Power to tell effects of these sizes, by default the smallest of interest.

        That of the least sure finding or, with `any_target`, of the surest target at its share of the level.
        """
        sizes = sizes or [self.test.smallest] * len(findings)
        if not self.any_target:
            tests = [replace(self.test, smallest=size) for size in sizes]
            effects = [each.effect for each in findings]
            return min(power(test, of.error, of.freedom) for test, of in zip(tests, effects, strict=True))
        effects = [effect for each in findings for effect in each.targets.values()] or [Effect.none()]
        return max(power(self.test, each.error, each.freedom, LEVEL / len(effects)) for each in effects)

    def reading(self, findings: list[Finding], for_it: float, against: float) -> str:
        """What the findings say, given the p values after Holm's correction."""
        large = self.any_target or all(self.test.large(each.effect) for each in findings)
        return "reproduced" if for_it < LEVEL and large else "contradicted" if against < LEVEL else "inconclusive"


def replicates(values: pd.DataFrame) -> np.ndarray:
    """One value per network or, with a single one, per seed; of columns `ON` and value."""
    return np.array(_effect(_by_target(values).mean(axis=1)).replicates)


def finding(label: str, values: pd.DataFrame, pooled: Iterable[str] | None = None, collapsed: int = 0) -> Finding:
    """The effect over the targets `pooled` (None: all), on each target and of each network.

    `values` has the columns `ON` and value; without rows, the effect is `Effect.none()`. Where there are several
    networks, an effect on a target that only one of them has is of one replicate: its seeds do not stand for networks.
    """
    if values.empty:
        return Finding(label, Effect.none(), collapsed=collapsed)
    table = _by_target(values)
    inside = table[list(table if pooled is None else pooled)].mean(axis=1).dropna()
    networks = {f"{name} {k}" if k else name: Effect.of(of) for (name, k), of in inside.groupby(NETWORK, sort=False)}
    targets = {name: _effect(table[name].dropna(), table) for name in table}
    return Finding(label, _effect(inside), targets, networks, collapsed)


def _by_target(values: pd.DataFrame) -> pd.DataFrame:
    """Means of values: a row per network and seed, a column per target in order of appearance."""
    table = values.groupby(ON)["value"].mean().unstack("target")
    return table[list(dict.fromkeys(values["target"]))]


def _effect(of_seeds: pd.Series, every: pd.Series | pd.DataFrame | None = None) -> Effect:
    """Over networks or, if there is only one in `every` (by default, in `of_seeds`), over its seeds."""
    if of_seeds.empty:
        return Effect.none()
    several = (of_seeds if every is None else every).groupby(NETWORK).ngroups > 1
    return Effect.of(of_seeds.groupby(NETWORK).mean() if several else of_seeds)


def compared(label: str, pairs: pd.DataFrame, lost: str) -> Finding:
    """The finding of `paired` runs; the label counts those that were `lost`, whose status is not "ok"."""
    left = pairs[pairs["status"] == "ok"].rename(columns={"difference": "value"})
    missing = len(pairs) - len(left)
    return finding(label + (f" ({missing} of {len(pairs)} pairs {lost})" if missing else ""), left, collapsed=missing)
