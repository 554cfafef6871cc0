"""From replicates to tests: effects with intervals, p values for and against a claim, and Holm's correction.

A replicate is one independent value of an effect: of a network (the mean over its seeds) or, with a single network, of
a seed. Every test has 2.5 % on its side, so it agrees with the 95 % interval that is shown, two one-sided tests
included. With d the smallest effect of interest or the margin, and effects turned into the claimed direction:

=======================================================  ======================================  ==================
kind                                                     for the claim                           against it
=======================================================  ======================================  ==================
directional ("falls", "rises")                           interval above 0, estimate at least d   interval below d
non-inferiority ("does not worsen", "beats or matches")  interval above −d                       interval below −d
equivalence ("differs within noise")                     interval within ±d                      interval beyond ±d
=======================================================  ======================================  ==================

If all findings of a claim must hold, the p value for it is their largest, and that against it their smallest times
their number. Holm's correction over the ledger applies to both directions alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats

LEVEL = 0.05  # of a two-sided test, and so of intervals and of Holm's correction
NOT_RUN = "not run at this scale"
NOT_TESTED = "not tested"  # its cells ran, but no runs can be compared, or what it is about did not occur
COLLAPSED = "not tested: collapsed"
ONE_NETWORK = "cannot tell: one network"
CANNOT_TELL = "cannot tell here"  # inconclusive, and with less than even odds to find what the claim asks for
EVEN = 0.5
READINGS = ("reproduced", "contradicted", "inconclusive")
VERDICTS = (*READINGS, NOT_RUN, NOT_TESTED, COLLAPSED, ONE_NETWORK, CANNOT_TELL)


@dataclass(frozen=True)
class Effect:
    """A mean of `n` replicates with its standard error and degrees of freedom (NaN below two replicates)."""

    mean: float
    error: float
    freedom: float
    n: int
    replicates: tuple[float, ...] = ()

    @classmethod
    def of(cls, replicates: Sequence[float]) -> "Effect":
        """Raises ValueError if there are no replicates or one is not finite."""
        # rounded, because last digits differ between CPUs, and equal differences of shares by a rounding error
        values = np.asarray(replicates, dtype=float).round(12)
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(f"replicates must be finite and at least one, given: {values}")
        n = len(values)
        error = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
        return cls(float(values.mean()), error, n - 1, n, tuple(values))

    @classmethod
    def none(cls) -> "Effect":
        """No comparable runs: neither reproduces nor contradicts a claim."""
        return cls(math.nan, math.nan, math.nan, 0)

    def with_pictures(self, left_out: Sequence["Effect"]) -> "Effect":
        """The effect with an error over test pictures too, from the same effect without each block of them.

        Networks (or seeds) and pictures are crossed random factors: Var(mean) = (MS_rows + MS_blocks − MS_rest) / n,
        here over pseudo-values of a jackknife, which holds for any measure. The degrees of freedom are Satterthwaite's.
        """
        if self.n < 2:
            return self
        own, others = np.array(self.replicates), np.array([each.replicates for each in left_out])  # (n), (blocks, n)
        blocks = len(others)
        pseudo = blocks * own - (blocks - 1) * others
        of_blocks = pseudo.mean(axis=1)
        rest = pseudo - of_blocks[:, None] - pseudo.mean(axis=0) + pseudo.mean()
        rows, pictures = self.error**2, float(of_blocks.var(ddof=1)) / blocks
        both = np.square(rest).sum() / ((blocks - 1) * (self.n - 1)) / pseudo.size
        variance = max(rows + pictures - both, rows, pictures)
        parts = rows**2 / (self.n - 1) + pictures**2 / (blocks - 1)
        freedom = variance**2 / parts if parts else self.n - 1
        return Effect(self.mean, math.sqrt(variance), freedom, self.n, self.replicates)

    @property
    def low(self) -> float:
        """Lower end of the 95 % t interval."""
        return self.mean - self._half

    @property
    def high(self) -> float:
        return self.mean + self._half

    @property
    def _half(self) -> float:
        return float(stats.t.ppf(1 - LEVEL / 2, self.freedom)) * self.error if self.n > 1 else math.nan

    def __neg__(self) -> "Effect":
        return Effect(-self.mean, self.error, self.freedom, self.n)

    def p_above(self, value: float) -> float:
        """One-sided p value of a mean this high if the truth is `value` or less; 1 below two replicates.

        1 also where replicates are all equal: without spread, as between shares of few pictures, a t test says nothing.
        """
        if self.n < 2 or self.error == 0:
            return 1.0
        return float(stats.t.sf((self.mean - value) / self.error, self.freedom))

    def p_below(self, value: float) -> float:
        """One-sided p value of a mean this low if the truth is `value` or more; 1 below two replicates."""
        return (-self).p_above(-value)


@dataclass(frozen=True)
class Test:
    """A test of an effect."""

    kind: str  # "directional", "non-inferiority" or "equivalence"
    sign: int  # ±1: published or better direction; 0 for "equivalence"
    smallest: float  # smallest effect of interest or margin, > 0
    nothing: float = 0.0  # a directional estimate must be as large as what null controls show, too; rejects nothing

    def p(self, effect: Effect) -> tuple[float, float]:
        """The p values for and against the claim, each twice that of the one-sided test in the module's table."""
        d, along = self.smallest, -effect if self.sign < 0 else effect
        if self.kind == "equivalence":  # against it, the truth is on one side, so there is no further doubling
            one = max(along.p_below(d), along.p_above(-d)), min(along.p_above(d), along.p_below(-d))
        elif self.kind == "non-inferiority":
            one = along.p_above(-d), along.p_below(-d)
        else:
            one = along.p_above(0), along.p_below(d)
        return min(1.0, 2 * one[0]), min(1.0, 2 * one[1])

    def large(self, effect: Effect) -> bool:
        """Whether the estimate is as large as a directional claim asks; True for other claims."""
        return self.kind != "directional" or self.sign * effect.mean >= max(self.smallest, self.nothing)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979), in the given order, which control the family-wise error."""
    order, adjusted, highest = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def power(test: Test, error: float, freedom: float, level: float = LEVEL) -> float:
    """Power to tell an effect of `test.smallest` from none, or none from the margin, if the mean has this `error`.

    Of one finding and in a test at `level` / 2 on each side, before Holm's correction. Exact for normal replicates:
    given the ratio of the estimated error to the true one, whose square is chi-square over `freedom`, the mean must
    stay within what critical t values leave of the distance; for equivalence, on both sides. 0 without an error.
    """
    if not (error > 0 and freedom > 0):
        return 0.0
    distance, critical = test.smallest / error, stats.t.ppf(1 - level / 2, freedom)

    def given(ratio: float) -> float:
        room = distance - critical * ratio
        inside = stats.norm.cdf(room)
        if test.kind == "equivalence":
            inside = max(0.0, 2 * inside - 1)
        return inside * stats.chi2.pdf(freedom * ratio**2, freedom) * 2 * freedom * ratio

    end = 1 + 12 / math.sqrt(freedom)  # a ratio beyond has no weight
    return float(min(1.0, integrate.quad(given, 0, end, points=[min(1.0, distance / critical), 1.0], limit=200)[0]))
