"""Intervals over seeds, and the tidy frame of results reduced to them.

A run that diverged has no metrics: it is left out of every mean, and counted in `n_diverged`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

PAIRED_BY = [
    "backbone",
    "source_seed",
    "target",
    "method",
    "budget",
    "seed",
]  # what a compressed run shares with its dense one


class Interval(NamedTuple):
    """A mean of `n` values and its confidence interval; `low` and `high` are NaN where `n` is below 2."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent values (n,) with Student's t interval: one value for each seed.

    No value at all gives a NaN mean, as for a cell in which every seed diverged.

    Raises
    ------
    ValueError
        If a value is not finite, or `confidence` is not between 0 and 1.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"values must be finite and one-dimensional, given: {values}; leave diverged runs out, count them"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, e.g. 0.95")
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else np.nan, np.nan, np.nan, n)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * stats.sem(values)
    mean = values.mean()
    return Interval(float(mean), float(mean - half), float(mean + half), n)


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of `a` minus `b`, both (n,) in the order of the same seeds, with Student's t interval.

    Raises
    ------
    ValueError
        If the two differ in length, or a value is not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values and b {len(b)}; give one of each for every seed, in one order")
    return mean_interval(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), confidence)


def summarise(frame: pd.DataFrame, by: Sequence[str], metric: str) -> pd.DataFrame:
    """One row for each group of runs, in order of appearance: `by`, mean, low, high, n, n_diverged.

    Runs from several source checkpoints (`source_seed`) come in clusters: seeds of one checkpoint share its luck. The
    mean is then that of the checkpoints' means, and so is the interval, with as many replicates as checkpoints. `n`
    counts the runs that finished, `n_diverged` those that did not; their sum is the number of runs.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        finished = group.loc[group["status"] == "ok"]
        values = finished[metric].astype(float)
        if finished["source_seed"].nunique() > 1:
            values = values.groupby(finished["source_seed"]).mean()
        interval = mean_interval(values.to_numpy())._replace(n=len(finished))
        diverged = len(group) - len(finished)
        rows.append(dict(zip(by, key, strict=True)) | interval._asdict() | {"n_diverged": diverged})
    return pd.DataFrame(rows, columns=[*by, *Interval._fields, "n_diverged"])


def against_dense(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The change of `metric` from the dense backbone to each compressed one, run by run.

    Paired by backbone, source checkpoint, target, method, budget and seed: the same pictures, start and order.

    Returns
    -------
    DataFrame
        A row for each compressed run: what it is paired by, `compression`, `difference` (compressed − dense)
        and `status`, "diverged" with a NaN difference if either run of the pair diverged.

    Raises
    ------
    ValueError
        If a compressed run has no dense one, or more than one.
    """
    is_dense = frame["compression"] == "dense"
    columns = [*PAIRED_BY, "status", metric]
    pairs = frame.loc[~is_dense, ["compression", *columns]].merge(
        frame.loc[is_dense, columns],
        how="left",
        on=PAIRED_BY,
        suffixes=("", "_dense"),
        validate="many_to_one",
    )
    alone = pairs.loc[pairs["status_dense"].isna(), PAIRED_BY].drop_duplicates()
    if len(alone):
        raise ValueError(
            "these runs have no dense run to compare with; run the compression 'dense' for them:\n"
            + alone.to_string(index=False)
        )
    finished = (pairs["status"] == "ok") & (pairs["status_dense"] == "ok")
    difference = pairs[metric].astype(float) - pairs[f"{metric}_dense"].astype(float)
    return pairs[[*PAIRED_BY, "compression"]].assign(
        status=np.where(finished, "ok", "diverged"), difference=difference.where(finished)
    )


def paired(one: pd.DataFrame, other: pd.DataFrame, on: Sequence[str], metric: str) -> pd.DataFrame:
    """`metric` of the runs in `one` less that of the runs in `other` that agree with them in the columns `on`.

    Returns
    -------
    DataFrame
        A row for each run of `one` that has a partner: `on`, `difference`, and `status`, "diverged" with a NaN
        difference if either run of the pair diverged.

    Raises
    ------
    MergeError
        If a run has several partners.
    """
    columns = [*on, "status", metric]
    pairs = one[columns].merge(other[columns], on=list(on), suffixes=("", "_other"), validate="one_to_one")
    finished = (pairs["status"] == "ok") & (pairs["status_other"] == "ok")
    difference = pairs[metric].astype(float) - pairs[f"{metric}_other"].astype(float)
    return pairs[list(on)].assign(status=np.where(finished, "ok", "diverged"), difference=difference.where(finished))
