"""The sparsity at which a network has lost 1, 2 and 5 points: adapted by each method, and upstream."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.claims.claim import NETWORK
from studies.figures import panels, style
from studies.hidden_cost import dose
from studies.hidden_cost.dose_figure import living
from studies.hidden_cost.evidence import Evidence
from vpstudy.compression.family import percent
from vpstudy.compression.registry import parse

LOSSES = (0.01, 0.02, 0.05)
FEWEST = 2  # sparsities of a method


def first_at(sparsities: Sequence[float], changes: Sequence[float], loss: float) -> float:
    """The sparsity at which the change first reaches −`loss`: 0 if it has at the first one, infinite if it never does.

    Between two sparsities the change is linear in the logarithm of what is left.
    """
    before = None
    for sparsity, change in sorted(zip(sparsities, changes, strict=True)):
        x = np.log(1 - sparsity)
        if change <= -loss:
            if before is None:
                return 0.0
            share = (before[1] + loss) / (before[1] - change)
            return float(1 - np.exp(before[0] + share * (x - before[0])))
        before = x, change
    return float("inf")


def curves(found: Evidence, methods: Sequence[str]) -> pd.DataFrame:
    """Changes along the recovered sparsities, over seeds: `NETWORK`, target, method, sparsity, value, upstream."""
    names = {each.name for each in found.recovered}
    every = [
        dose.points(found, "accuracy", method, lambda each: each.name in names).assign(method=method)
        for method in methods
    ]
    table = pd.concat(every, ignore_index=True)
    table = table.assign(sparsity=[parse(name).sparsity for name in table["compression"]])
    by = [*NETWORK, "target", "method", "sparsity"]
    return table.groupby(by, sort=False)[["value", "upstream"]].mean().reset_index()


def table(report) -> pd.DataFrame:
    """A row a target and method, at the largest budget, of networks and targets as the claims have them.

    At each loss the sparsity, a median over networks, with the lowest and the highest. Upstream is that of the same
    networks at the same sparsities; the last column counts those that lose 2 points at a lower sparsity when adapted.
    """
    if (found := living(report)) is None or not found.recovered:
        return pd.DataFrame()
    largest, _ = panels.at_largest_budget(found.runs)
    found = replace(found, runs=largest)
    changes, rows = curves(found, style.methods(report.runs["method"])), []
    for (target, method), of in changes.groupby(["target", "method"], sort=False):
        measured = sorted(of["sparsity"].unique())
        if len(measured) < FEWEST:
            continue
        networks = [network for _, network in of.groupby(NETWORK)]
        row = {"target": target, "method": style.method(method).label}
        ends = measured[0], measured[-1]
        for loss in LOSSES:
            adapted, upstream = (
                [first_at(network["sparsity"], network[column], loss) for network in networks]
                for column in ("value", "upstream")
            )
            words = f"lost {100 * loss:.0f} point{'s' * (loss > LOSSES[0])}"
            row |= {words: _range(adapted, *ends), f"{words}, upstream": _range(upstream, *ends)}
            if loss == LOSSES[1]:
                earlier = sum(one < other for one, other in zip(adapted, upstream, strict=True))
                last = {"lose 2 points before upstream": f"{earlier} of {len(networks)}"}
        rows.append(row | last)
    return pd.DataFrame(rows)


def _range(values: Sequence[float], least: float, most: float) -> str:
    """The median (of two middle values the lower), the lowest and the highest, in per cent."""

    def words(value: float) -> str:
        if value == 0:
            return f"< {percent(least)}"
        return f"> {percent(most)}" if np.isinf(value) else f"{100 * value:.0f}"

    low, middle, high = (words(np.quantile(values, share, method="lower")) for share in (0, 0.5, 1))
    return f"{middle} % [{low}, {high}]"
