"""Intervals over seeds or source checkpoints, differences between runs paired by seed, and blocks of test pictures.

Diverged runs have no metrics: they are left out of means and counted in `n_diverged`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from vpstudy.compression.registry import parse

BLOCKS = 10  # of test pictures, left out one at a time for intervals over pictures
PAIRED_BY = ["backbone", "source_seed", "target", "method", "budget", "seed"]  # of a compressed and its dense run


class Interval(NamedTuple):
    """A mean of `n` values with its 95 % interval; `low` and `high` are NaN for `n` < 2."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of independent values (n,) with Student's 95 % t interval. Raises ValueError if one is not finite."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be finite and one-dimensional, given: {values}; leave diverged runs out, count them"
        )
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else np.nan, np.nan, np.nan, n)
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    mean = values.mean()
    return Interval(float(mean), float(mean - half), float(mean + half), n)


def summarise(frame: pd.DataFrame, by: Sequence[str], metric: str) -> pd.DataFrame:
    """One row per group of runs, in order of appearance: `by`, mean, low, high, n (finished), n_diverged.

    Where runs say whether their network is `admitted` to claims, so do rows, of all their networks.

    With several source checkpoints, mean and interval are over the checkpoints' means, because seeds of one checkpoint
    are not independent.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        finished = group.loc[group["status"] == "ok"]
        values = finished[metric].astype(float)
        if finished["source_seed"].nunique() > 1:
            values = values.groupby(finished["source_seed"]).mean()
        interval = mean_interval(values.to_numpy())._replace(n=len(finished))
        more = {"n_diverged": len(group) - len(finished)}
        if "admitted" in frame:  # see `studies/hidden_cost/admission.py`
            more["admitted"] = bool(group["admitted"].eq(True).all())
        rows.append(dict(zip(by, key, strict=True)) | interval._asdict() | more)
    columns = [*by, *Interval._fields, "n_diverged", *(["admitted"] if "admitted" in frame else [])]
    return pd.DataFrame(rows, columns=columns)


def pooled(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with the networks as checkpoints of one backbone, if there are several and none has checkpoints of its own.

    `backbone` is then the list of their names, and `source_seed` the name of one.
    """
    names = list(dict.fromkeys(runs["backbone"]))
    if len(names) < 2 or runs.groupby("backbone")["source_seed"].nunique().max() > 1:
        return runs
    return runs.assign(source_seed=runs["backbone"], backbone=", ".join(names))


def are_pooled(runs: pd.DataFrame) -> bool:
    """Whether `pooled` took the networks of `runs` together."""
    return runs["source_seed"].dtype.kind not in "iu"


def first_network(runs: pd.DataFrame) -> str:
    """The backbone of `runs`, or the first of those that `pooled` took together."""
    return runs["backbone"].iloc[0].partition(", ")[0]


def paired(
    one: pd.DataFrame, other: pd.DataFrame, on: Sequence[str], metric: str, keep: Sequence[str] = ()
) -> pd.DataFrame:
    """`metric` of each run in `one` minus that of its partner in `other`, which has the same values in `on`.

    Returns a row per run with a partner: `on`, `keep` (columns of `one`), `status` and `difference` ("diverged" and NaN
    if either diverged). Raises MergeError if a run has several partners in `other` or, without `keep`, in `one`.
    """
    columns = [*on, "status", metric]
    validate = "many_to_one" if keep else "one_to_one"
    pairs = one[[*keep, *columns]].merge(other[columns], on=list(on), suffixes=("", "_other"), validate=validate)
    finished = (pairs["status"] == "ok") & (pairs["status_other"] == "ok")
    difference = pairs[metric].astype(float) - pairs[f"{metric}_other"].astype(float)
    return pairs[[*on, *keep]].assign(
        status=np.where(finished, "ok", "diverged"), difference=difference.where(finished)
    )


def against_dense(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`paired` changes from dense, or the control that was trained alike, to each `compression`.

    Raises ValueError if a run has no such partner.
    """
    compressed, on = frame[frame["compression"] != "dense"], [*PAIRED_BY, "control"]
    compressed = compressed.assign(control=[parse(name).control or "dense" for name in compressed["compression"]])
    controls = frame.assign(control=frame["compression"])
    alone = compressed.merge(controls[on], how="left_anti", on=on)[on].drop_duplicates()
    if len(alone):
        raise ValueError(
            "these runs have no dense run to compare with; run the compression `control` for them:\n"
            + alone.to_string(index=False)
        )
    return paired(compressed, controls, on, metric, keep=["compression"]).drop(columns="control")


def blocks(pictures: int) -> np.ndarray:
    """The block (N,) of each test picture, drawn once, the same for all runs on as many pictures."""
    return np.random.default_rng(0).permutation(pictures) % BLOCKS


def has_blocks(runs: pd.DataFrame) -> bool:
    """Whether there are finished runs and each holds its metrics without each block of test pictures."""
    finished = runs.loc[runs["status"] == "ok"]
    held = [isinstance(each, dict) for each in finished.get("left_out", [None])]
    return bool(held) and all(held)


def without_block(runs: pd.DataFrame, block: int) -> pd.DataFrame:
    """The runs with metrics as they are without a block of test pictures; NaN for those that diverged.

    `whole_accuracy` is that of all test pictures, for rules that must not change from block to block.
    """
    names = next(each for each in runs["left_out"] if isinstance(each, dict))
    values = {
        name: [each[name][block] if isinstance(each, dict) else np.nan for each in runs["left_out"]] for name in names
    }
    return runs.assign(whole_accuracy=runs["accuracy"], **values)
