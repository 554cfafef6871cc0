"""From replicates to verdicts: effects with intervals, Holm's correction, and rules set in advance.

A replicate is one independent value of an effect: of a seed with one source checkpoint, else of a source checkpoint
(mean over its seeds). Intervals and tests are Student's t.

Rules at the 5 % level, with d the smallest effect of interest or the margin; inconclusive if neither applies:

- *Directional* ("falls", "rises"). Reproduced: zero is rejected after Holm in the published direction, one-sided or
  two-sided as the claim says, and the estimate is at least d. Contradicted: an effect of d or more in that direction is
  rejected, one-sided.
- *Equivalence* ("does not worsen"). Reproduced: effects of −d or less and of d or more are both rejected (two one-sided
  tests), after Holm. Contradicted: a worsening of at most d is rejected.
- *Non-inferiority* ("matches or beats"). Reproduced: a loss of d or more is rejected, after Holm. Contradicted: a loss
  of at most d is rejected.

If all of a claim's findings must hold, each contradicts it at 5 % divided by their number. So a claim without any
effect is reproduced in at most 5 % of studies, and one with effects of d contradicted in at most 5 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats

LEVEL = 0.05
NOT_RUN = "not run at this scale"
NOT_TESTED = "not tested"  # its cells ran, but the event it is about did not occur
VERDICTS = ("reproduced", "contradicted", "inconclusive", NOT_RUN, NOT_TESTED)


@dataclass(frozen=True)
class Effect:
    """A mean of `n` replicates, its standard error and 95 % interval (NaN below two replicates)."""

    mean: float
    error: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, replicates: Sequence[float]) -> "Effect":
        """Raises ValueError if there are no replicates or one is not finite."""
        values = np.asarray(replicates, dtype=float)
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(f"replicates must be finite and at least one, given: {values}")
        mean = float(values.mean())
        if len(values) < 2:
            return cls(mean, math.nan, math.nan, math.nan, len(values))
        error = float(stats.sem(values))
        half = error * stats.t.ppf(1 - LEVEL / 2, len(values) - 1)
        return cls(mean, error, mean - half, mean + half, len(values))

    @classmethod
    def none(cls) -> "Effect":
        """No comparable runs: neither reproduces nor contradicts a claim."""
        return cls(math.nan, math.nan, math.nan, math.nan, 0)

    def __neg__(self) -> "Effect":
        return Effect(-self.mean, self.error, -self.high, -self.low, self.n)

    def p_above(self, value: float) -> float:
        """One-sided p value of a mean this high if the truth is `value` or less; 1 below two replicates."""
        if self.n < 2:
            return 1.0
        if self.error == 0:
            return 0.0 if self.mean > value else 1.0
        return float(stats.t.sf((self.mean - value) / self.error, self.n - 1))

    def p_below(self, value: float) -> float:
        """One-sided p value of a mean this low if the truth is `value` or more; 1 below two replicates."""
        return (-self).p_above(-value)


@dataclass(frozen=True)
class Test:
    """A test of an effect."""

    kind: str  # "one-sided", "two-sided", "equivalence" or "non-inferiority"
    sign: int  # ±1: published or better direction; for "equivalence" the worse one, or 0 for both
    smallest: float  # smallest effect of interest or margin, > 0

    def p(self, effect: Effect) -> float:
        """The p value of the null hypothesis that must be rejected for the claim."""
        d, along = self.smallest, -effect if self.sign < 0 else effect
        if self.kind == "equivalence":
            return max(along.p_below(d), along.p_above(-d))
        if self.kind == "non-inferiority":
            return along.p_above(-d)
        one = along.p_above(0)
        return one if self.kind == "one-sided" else min(1.0, 2 * min(one, 1 - one))

    def verdict(self, effect: Effect, p_holm: float, level: float = LEVEL) -> str:
        """The verdict on `effect`, given its p value after Holm; contradicted at `level`."""
        d, along, shown = self.smallest, -effect if self.sign < 0 else effect, p_holm < LEVEL
        if self.kind == "equivalence":
            against = along.p_above(d) if self.sign else 2 * min(along.p_above(d), along.p_below(-d))
        elif self.kind == "non-inferiority":
            against = along.p_below(-d)
        else:
            against, shown = along.p_below(d), shown and along.mean >= d
        return "reproduced" if shown else "contradicted" if against < level else "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979), in the given order, which control the family-wise error."""
    order, adjusted, highest = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def equivalence_power(n: int, deviation: float, margin: float, truth: float = 0.0, level: float = LEVEL) -> float:
    """Power of two one-sided t tests at `level` to show |effect| < margin, with `n` normal replicates.

    Exact: given the sample deviation s, the mean must lie within margin − t s / √n of zero; s² is scaled chi-square.
    """
    if n < 2:
        return 0.0
    critical, error = stats.t.ppf(1 - level, n - 1), deviation / math.sqrt(n)

    def given(ratio: float) -> float:  # ratio = s / deviation
        room = margin - critical * ratio * error
        if room <= 0:
            return 0.0
        inside = stats.norm.cdf((room - truth) / error) - stats.norm.cdf((-room - truth) / error)
        density = stats.chi2.pdf((n - 1) * ratio**2, n - 1) * 2 * (n - 1) * ratio
        return inside * density

    return float(integrate.quad(given, 0, min(margin / (critical * error), 10.0), limit=200)[0])
