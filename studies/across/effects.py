"""Effects of the study across: the cost of quantizing a visual prompt, and whether compressed backbones pay more.

No paper claims anything here, so effects have 95 % intervals and words, but no verdicts. A *change* is the value of a
quantized prompt minus that of the full-precision prompt with the same backbone, compression, source checkpoint, target
and seed. An *interaction* is the change on a compressed backbone minus that on the dense one, in the same pairs.
Replicates, as for claims, are networks or, with a single one, seeds; each is a mean over targets.

The bits of one quantization method are tested in a fixed order. It was chosen after a look at the default scale, where
Holm's correction resolved next to nothing with five seeds. There is no correction across compressions, metrics and
methods.
"""

from collections.abc import Sequence
from itertools import product, takewhile

import numpy as np
import pandas as pd

from studies.claims.claim import ON, replicates
from studies.claims.verdict import LEVEL, Effect, Test
from studies.statistics import paired

MARGIN = 0.01  # smallest change of interest, in accuracy and in calibration error
ARM = ["arm", "codebook", "bits"]
UNRESOLVED = ("not resolved", "no interval from one replicate")
EQUAL = Test("equivalence", 0, MARGIN)
METRICS = {"accuracy": "accuracy", "ece_debiased": "debiased ECE"}
COST, DEPENDENCE = "quantized − full precision", "that less dense's"  # comparisons
OTHER = "_other"  # suffix of control arms, at a learning rate that validation did not choose


def changes(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Quantized minus full-precision runs of one backbone: compression, `ARM`, `ON`, status, value."""
    full = runs["arm"] == "full"
    pairs = paired(runs[~full], runs[full], ["compression", *ON], metric, keep=ARM)
    return pairs.rename(columns={"difference": "value"})


def interactions(of_changes: pd.DataFrame) -> pd.DataFrame:
    """Changes on compressed backbones minus those on the dense one; columns as in `changes`."""
    dense = of_changes["compression"] == "dense"
    pairs = paired(of_changes[~dense], of_changes[dense], [*ARM, *ON], "value", keep=["compression"])
    return pairs.rename(columns={"difference": "value"})


def effects(values: pd.DataFrame) -> pd.DataFrame:
    """One row per compression and arm: mean, low, high, n (pairs), n_diverged, replicates, and `words`."""
    rows = []
    for (compression, arm, codebook), way in values.groupby(["compression", *ARM[:2]], sort=False, dropna=False):
        found = {}
        for bits, group in way.groupby("bits", sort=False):
            done = group[group["status"] == "ok"]
            effect = Effect.of(replicates(done)) if len(done) else Effect.none()
            found[bits] = effect
            row = {"compression": compression, "arm": arm, "codebook": codebook, "bits": bits}
            row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
            rows.append(row | {"n": len(done), "n_diverged": len(group) - len(done), "replicates": effect.n})
        for row, said in zip(rows[-len(found) :], words(list(found.values()), list(found)), strict=True):
            row["words"] = said
    columns = ["compression", *ARM, "mean", "low", "high", "n", "n_diverged", "replicates", "words"]
    return pd.DataFrame(rows, columns=columns)


def words(found: Sequence[Effect], bits: Sequence[int]) -> list[str]:
    """Words for the effects of one quantization method, tested at 5 % in fixed sequences over bits.

    "within ±0.01": changes of `MARGIN` or more are rejected on both sides, here and at all more bits. "lower" or
    "higher": zero is rejected two-sided, here and at all fewer bits. Both can hold; "not resolved" if neither does. A
    sequence ends at its first failure, so the probability of any false rejection in it is at most 5 %.
    """
    order = np.argsort(bits)
    equal = _sequence([EQUAL.p(effect)[0] for effect in found], order[::-1])
    different = _sequence([min(1.0, 2 * min(e.p_above(0), e.p_below(0))) for e in found], order)
    said = []
    for i, effect in enumerate(found):
        parts = [*(["higher" if effect.mean > 0 else "lower"] if i in different else [])]
        parts += [f"within ±{MARGIN:g}"] if i in equal else []
        said.append(", ".join(parts) or UNRESOLVED[effect.n < 2])
    return said


def _sequence(p_values: Sequence[float], order: Sequence[int]) -> set[int]:
    """Indices in `order` with p values below the level, up to the first failure."""
    return set(takewhile(lambda place: p_values[place] < LEVEL, map(int, order)))


def fewest_bits(table: pd.DataFrame, codebook: str) -> int | None:
    """Fewest bits after training such that they and all more are within the margin; None if there are none."""
    here = table[(table["arm"] == "ptq") & (table["codebook"] == codebook)].sort_values("bits", ascending=False)
    within = here["words"].str.contains("within").to_numpy()
    reached = here["bits"].to_numpy()[: int(np.argmin([*within, False]))]
    return int(reached[-1]) if len(reached) else None


def table(every: pd.DataFrame, codebook: str) -> pd.DataFrame:
    """`effects` of every backbone, metric and comparison.

    Comparisons are the cost, its interaction with compression, and that interaction with all borders at one learning
    rate (after training, by `codebook`), because a higher rate spreads a border more and rounding errs more. `every`
    holds all runs, controls included: backbone, compression, `ARM`, `ON`, status, `METRICS`, learning_rate.
    """
    tables = []
    for (backbone, runs), (metric, named) in product(every.groupby("backbone", sort=False), METRICS.items()):
        chosen = runs[~runs["arm"].str.endswith(OTHER) & ~runs["arm"].isin(["half", "grey"])]
        of = changes(chosen, metric)
        compared = {COST: of, DEPENDENCE: interactions(of)}
        for rate, same in runs.groupby("learning_rate"):
            same = same.assign(arm=same["arm"].str.removesuffix(OTHER))
            same = same[(same["arm"] == "full") | ((same["arm"] == "ptq") & (same["codebook"] == codebook))]
            compared[f"{DEPENDENCE}, all at learning rate {rate:g}"] = interactions(changes(same, metric))
        tables += [
            effects(values).assign(backbone=backbone, metric=named, comparison=comparison)
            for comparison, values in compared.items()
        ]
    return pd.concat(tables, ignore_index=True)
