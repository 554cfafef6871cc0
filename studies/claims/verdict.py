"""From replicates to a verdict: effects with intervals, Holm's correction, and rules that were set beforehand.

A replicate is one independent value of an effect: of a seed with one source checkpoint, else of a source checkpoint
(the mean over its seeds). With so few of them, intervals and tests are Student's.

Rules, at the level of 5 %:

- *Directional* ("falls", "rises"), with d the smallest effect of interest. Reproduced: zero is rejected one-sided
  (two-sided where the claim is tested so) after Holm, in the published direction, and the estimate is at least d.
  Contradicted: an effect of d or more in the published direction is rejected, one-sided. Inconclusive: neither.
- *Equivalence* ("does not worsen"), with the margin d. Reproduced: effects of −d or less and of d or more are both
  rejected (two one-sided tests), after Holm. Contradicted: a worsening of at most d is rejected. Inconclusive: neither.
- *Non-inferiority* ("matches or beats"), with the margin d. Reproduced: a loss of d or more is rejected, after Holm.
  Contradicted: a loss of at most d is rejected. Inconclusive: neither.

If a claim has several findings, all of which must hold, each contradicts it at 5 % divided by their number. So a claim
without any effect is reproduced in at most 5 % of studies, and one with effects of d contradicted in at most 5 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats

LEVEL = 0.05
NOT_RUN = "not run at this scale"
NOT_TESTED = "not tested"  # its cells ran, but what it speaks of did not happen in them
VERDICTS = ("reproduced", "contradicted", "inconclusive", NOT_RUN, NOT_TESTED)


@dataclass(frozen=True)
class Effect:
    """A mean of `n` replicates, its standard error, and its 95 % interval (NaN below two replicates)."""

    mean: float
    error: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, replicates: Sequence[float]) -> "Effect":
        """Raises ValueError if a replicate is not finite or there is none."""
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
        """No comparable runs: neither reproduces nor contradicts anything."""
        return cls(math.nan, math.nan, math.nan, math.nan, 0)

    def __neg__(self) -> "Effect":
        return Effect(-self.mean, self.error, -self.high, -self.low, self.n)

    def p_above(self, value: float) -> float:
        """One-sided: how likely is a mean so high if the truth is `value` or below? 1 below two replicates."""
        if self.n < 2:
            return 1.0
        if self.error == 0:
            return 0.0 if self.mean > value else 1.0
        return float(stats.t.sf((self.mean - value) / self.error, self.n - 1))

    def p_below(self, value: float) -> float:
        """One-sided: how likely is a mean so low if the truth is `value` or above? 1 below two replicates."""
        return (-self).p_above(-value)


@dataclass(frozen=True)
class Test:
    """What is asked of an effect.

    Attributes
    ----------
    kind
        "one-sided", "two-sided", "equivalence" or "non-inferiority".
    sign
        +1 or −1: the published direction, or the better one; for "equivalence" the worse one, or 0 if either is.
    smallest
        The smallest effect of interest, or the margin; above 0.
    """

    kind: str
    sign: int
    smallest: float

    def p(self, effect: Effect) -> float:
        """The p value of what the claim needs rejected."""
        d, along = self.smallest, -effect if self.sign < 0 else effect
        if self.kind == "equivalence":
            return max(along.p_below(d), along.p_above(-d))
        if self.kind == "non-inferiority":
            return along.p_above(-d)
        one = along.p_above(0)
        return one if self.kind == "one-sided" else min(1.0, 2 * min(one, 1 - one))

    def verdict(self, effect: Effect, p_holm: float, level: float = LEVEL) -> str:
        """The verdict on `effect`, whose p value is `p_holm` after Holm's correction; contradicted at `level`."""
        d, along, shown = self.smallest, -effect if self.sign < 0 else effect, p_holm < LEVEL
        if self.kind == "equivalence":
            against = along.p_above(d) if self.sign else 2 * min(along.p_above(d), along.p_below(-d))
        elif self.kind == "non-inferiority":
            against = along.p_below(-d)
        else:
            against, shown = along.p_below(d), shown and along.mean >= d
        return "reproduced" if shown else "contradicted" if against < level else "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (1979), in the order given: below 5 % where the family-wise error stays below 5 %."""
    order, adjusted, highest = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def equivalence_power(n: int, deviation: float, margin: float, truth: float = 0.0, level: float = LEVEL) -> float:
    """How likely two one-sided t tests at `level` show |effect| < margin, for `n` normal replicates of that deviation.

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
