"""Effects of the study across: what quantizing a visual prompt costs, and whether a compressed backbone pays more.

No paper claims anything here, so there are no verdicts, only effects with 95 % intervals and words for them. The
*change* of a quantized prompt is its value less that of the full-precision prompt of the same backbone, compression,
source checkpoint, target and seed. The *interaction* of a compression is its change less that of the dense backbone, in
the same pairs: zero if a prompt's bits matter no more on the compressed backbone. Replicates as for the claims: seeds,
or source checkpoints where there are several, means over targets. p values are corrected by Holm over a backbone's
effects on one metric.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpstudy.claims.evidence import replicates
from vpstudy.claims.verdict import LEVEL, Effect, Test, holm
from vpstudy.statistics import paired

MARGIN = 0.01  # smallest change of interest: a point of accuracy, 0.01 of calibration error
PAIR = ["source_seed", "seed", "target"]
ARM = ["arm", "codebook", "bits"]
UNRESOLVED = ("not resolved", "no interval from one replicate")
EQUAL, ANY = Test("equivalence", 0, MARGIN), Test("two-sided", 1, MARGIN)


def changes(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Every quantized run less the full-precision one, of one backbone: compression, `ARM`, `PAIR`, status, value."""
    frames = []
    for (compression, *arm), group in runs.groupby(["compression", *ARM], sort=False, dropna=False):
        if arm[0] == "full":
            continue
        full = runs[(runs["compression"] == compression) & (runs["arm"] == "full")]
        pairs = paired(group, full, PAIR, metric).rename(columns={"difference": "value"})
        frames.append(pairs.assign(compression=compression, **dict(zip(ARM, arm, strict=True))))
    return _concat(frames, ["compression", *ARM, *PAIR, "status", "value"])


def interactions(of_changes: pd.DataFrame) -> pd.DataFrame:
    """Every change on a compressed backbone less that on the dense one: the columns of `changes`."""
    frames = []
    for (compression, *arm), group in of_changes.groupby(["compression", *ARM], sort=False, dropna=False):
        if compression == "dense":
            continue
        same = (of_changes[ARM].fillna("") == pd.Series(dict(zip(ARM, arm, strict=True))).fillna("")).all(axis=1)
        dense = of_changes[(of_changes["compression"] == "dense") & same]
        pairs = paired(group, dense, PAIR, "value").rename(columns={"difference": "value"})
        frames.append(pairs.assign(compression=compression, **dict(zip(ARM, arm, strict=True))))
    return _concat(frames, list(of_changes.columns))


def effects(values: pd.DataFrame) -> pd.DataFrame:
    """One row for each compression and arm: mean, low, high, n (pairs), n_diverged, replicates, and `words`."""
    rows, found = [], []
    for key, group in values.groupby(["compression", *ARM], sort=False, dropna=False):
        done = group[group["status"] == "ok"]
        effect = Effect.of(replicates(done)) if len(done) else Effect.none()
        found.append(effect)
        row = dict(zip(["compression", *ARM], key, strict=True))
        row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
        rows.append(row | {"n": len(done), "n_diverged": len(group) - len(done), "replicates": effect.n})
    columns = ["compression", *ARM, "mean", "low", "high", "n", "n_diverged", "replicates"]
    return pd.DataFrame(rows, columns=columns).assign(words=words(found))


def words(found: Sequence[Effect]) -> list[str]:
    """What each effect shows, at 5 % after Holm's correction over all of them.

    "lower" or "higher" where zero is rejected; "within ±0.01" where changes of `MARGIN` or more are rejected on both
    sides, both where both are; "not resolved" where neither is.
    """
    different, equal = (holm([test.p(effect) for effect in found]) for test in (ANY, EQUAL))
    said = []
    for effect, p_different, p_equal in zip(found, different, equal, strict=True):
        parts = []
        if effect.n >= 2 and p_different < LEVEL:
            parts.append("higher" if effect.mean > 0 else "lower")
        if effect.n >= 2 and p_equal < LEVEL:
            parts.append(f"within ±{MARGIN:g}")
        said.append(", ".join(parts) or UNRESOLVED[effect.n < 2])
    return said


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
