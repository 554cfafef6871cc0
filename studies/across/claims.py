"""Effects of the study across: what quantizing a visual prompt costs, and whether a compressed backbone pays more.

No paper claims anything here, so there are no verdicts, only effects with 95 % intervals and words for them. The
*change* of a quantized prompt is its value less that of the full-precision prompt of the same backbone, compression,
source checkpoint, target and seed. The *interaction* of a compression is its change less that of the dense backbone, in
the same pairs: zero if a prompt's bits matter no more on the compressed backbone. Replicates as for the claims: seeds,
or source checkpoints where there are several, means over targets. Tests go through the bits of one way
to quantize in a fixed order. That order replaced Holm's correction, which resolved next to nothing with five seeds,
after the default scale had been seen and before the extended one had run; there is no correction across compressions,
metrics and ways to quantize.
"""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import pandas as pd

from studies.claims.claim import ON, replicates
from studies.claims.verdict import LEVEL, Effect, Test
from studies.statistics import paired

MARGIN = 0.01  # smallest change of interest: a point of accuracy, 0.01 of calibration error
ARM = ["arm", "codebook", "bits"]
UNRESOLVED = ("not resolved", "no interval from one replicate")
EQUAL = Test("equivalence", 0, MARGIN)


def changes(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Every quantized run less the full-precision one, of one backbone: compression, `ARM`, `ON`, status, value."""
    frames = []
    for (compression, *arm), group in runs.groupby(["compression", *ARM], sort=False, dropna=False):
        if arm[0] == "full":
            continue
        full = runs[(runs["compression"] == compression) & (runs["arm"] == "full")]
        pairs = paired(group, full, ON, metric).rename(columns={"difference": "value"})
        frames.append(pairs.assign(compression=compression, **dict(zip(ARM, arm, strict=True))))
    return _concat(frames, ["compression", *ARM, *ON, "status", "value"])


def interactions(of_changes: pd.DataFrame) -> pd.DataFrame:
    """Every change on a compressed backbone less that on the dense one: the columns of `changes`."""
    frames = []
    for (compression, *arm), group in of_changes.groupby(["compression", *ARM], sort=False, dropna=False):
        if compression == "dense":
            continue
        same = (of_changes[ARM].fillna("") == pd.Series(dict(zip(ARM, arm, strict=True))).fillna("")).all(axis=1)
        dense = of_changes[(of_changes["compression"] == "dense") & same]
        pairs = paired(group, dense, ON, "value").rename(columns={"difference": "value"})
        frames.append(pairs.assign(compression=compression, **dict(zip(ARM, arm, strict=True))))
    return _concat(frames, list(of_changes.columns))


def effects(values: pd.DataFrame) -> pd.DataFrame:
    """One row for each compression and arm: mean, low, high, n (pairs), n_diverged, replicates, and `words`."""
    tables = []
    for (compression, arm, codebook), way in values.groupby(["compression", *ARM[:2]], sort=False, dropna=False):
        rows, found = [], []
        for bits, group in way.groupby("bits", sort=False):
            done = group[group["status"] == "ok"]
            # so that differences of equal shares of pictures are equal, not one rounding error apart
            effect = Effect.of(replicates(done).round(12)) if len(done) else Effect.none()
            found.append(effect)
            row = {"compression": compression, "arm": arm, "codebook": codebook, "bits": bits}
            row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
            rows.append(row | {"n": len(done), "n_diverged": len(group) - len(done), "replicates": effect.n})
        tables.append(pd.DataFrame(rows).assign(words=words(found, [row["bits"] for row in rows])))
    columns = ["compression", *ARM, "mean", "low", "high", "n", "n_diverged", "replicates", "words"]
    return _concat(tables, columns)


def words(found: Sequence[Effect], bits: Sequence[int]) -> list[str]:
    """What the effects of one way to quantize show, at 5 %, in fixed sequences over bits.

    "within ±0.01": changes of `MARGIN` or more are rejected on both sides, there and at all more bits. "lower" or
    "higher": zero is rejected two-sided, there and at all fewer bits. Both where both are; "not resolved" where neither
    is. As each sequence ends where it first fails, some false rejection in it is at most 5 % likely.
    """
    order = np.argsort(bits)
    equal = _sequence([EQUAL.p(effect) for effect in found], order[::-1])
    different = _sequence([min(1.0, 2 * min(e.p_above(0), e.p_below(0))) for e in found], order)
    said = []
    for i, effect in enumerate(found):
        parts = [*(["higher" if effect.mean > 0 else "lower"] if i in different else [])]
        parts += [f"within ±{MARGIN:g}"] if i in equal else []
        said.append(", ".join(parts) or UNRESOLVED[effect.n < 2])
    return said


def _sequence(p_values: Sequence[float], order: Sequence[int]) -> set[int]:
    """The places whose p values are below the level, in that order up to the first that is not."""
    return set(takewhile(lambda place: p_values[place] < LEVEL, map(int, order)))


def _concat(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def fewest_bits(table: pd.DataFrame, arm: str, codebook: str) -> int | None:
    """The fewest bits down to which, from the most on, `effects` are within the margin; None if they never are.

    Parameters
    ----------
    table
        Effects on one compression.
    """
    here = table[(table["arm"] == arm) & (table["codebook"] == codebook)].sort_values("bits", ascending=False)
    within = here["words"].str.contains("within").to_numpy()
    reached = here["bits"].to_numpy()[: int(np.argmin([*within, False]))]
    return int(reached[-1]) if len(reached) else None
