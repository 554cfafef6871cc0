"""The sparsity at which a network has lost 1, 2 and 5 points: upstream, and adapted by each method."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.claims.claim import NETWORK
from studies.figures import panels, style
from studies.hidden_cost.evidence import Evidence, control_of
from vpstudy.compression.family import percent

LOSSES = (0.01, 0.02, 0.05)
UPSTREAM = "upstream"


def first_at(sparsities: Sequence[float], changes: Sequence[float], loss: float) -> float:
    """The sparsity at which the change first reaches −`loss`; infinite if it never does.

    Between two sparsities, and from no change when dense, the change is linear in the logarithm of what is left.
    """
    before, x_before = 0.0, 0.0
    for sparsity, change in sorted(zip(sparsities, changes, strict=True)):
        x = np.log(1 - sparsity)
        if change <= -loss:
            share = (before + loss) / (before - change)
            return float(1 - np.exp(x_before + share * (x - x_before)))
        before, x_before = change, x
    return float("inf")


def curves(found: Evidence, runs: pd.DataFrame) -> pd.DataFrame:
    """Changes along the recovered sparsities: `NETWORK`, target, method, sparsity, change (a mean over seeds)."""
    sparsity = {each.name: each.sparsity for each in found.recovered}
    networks = found.backbones.assign(value=found.upstream, target="", method=UPSTREAM)
    ok = runs[runs["status"] == "ok"].assign(value=lambda table: table["accuracy"].astype(float))
    by = [*NETWORK, "target", "method"]
    every = pd.concat([each[[*by, "compression", "value"]] for each in (networks, ok)])
    means = every.groupby([*by, "compression"], sort=False)["value"].mean().reset_index()
    pruned = means[means["compression"].isin(sparsity)]
    pruned = pruned.assign(sparsity=pruned["compression"].map(sparsity), control=pruned["compression"].map(control_of))
    dense = means.rename(columns={"compression": "control", "value": "dense"})
    table = pruned.merge(dense, on=[*by, "control"])
    return table.assign(change=table["value"] - table["dense"])[[*by, "sparsity", "change"]]


def table(report) -> pd.DataFrame:
    """A row a target and method at the largest budget: at each loss, the median sparsity over networks, and its range.

    The last column counts the networks whose adapted model loses 2 points at a lower sparsity than upstream.
    """
    if report.evidence is None or not report.evidence.recovered:
        return pd.DataFrame()
    runs, _ = panels.at_largest_budget(report.runs)
    changes = curves(report.evidence, runs)
    most = max(changes["sparsity"], default=0)
    crossed = {
        loss: changes.groupby([*NETWORK, "target", "method"], sort=False)[["sparsity", "change"]].apply(
            lambda of, loss=loss: first_at(of["sparsity"], of["change"], loss)
        )
        for loss in LOSSES
    }
    rows = []
    methods = [UPSTREAM, *style.methods(runs["method"])]
    for target in ["", *dict.fromkeys(runs["target"])]:
        for method in methods:
            if not ((changes["target"] == target) & (changes["method"] == method)).any():
                continue
            at = {loss: of.xs((target, method), level=("target", "method")) for loss, of in crossed.items()}
            row = {"target": target or "source task", "method": UPSTREAM if not target else style.method(method).label}
            row |= {f"lost {100 * loss:.0f} point{'s' * (loss > 0.01)} at": _range(of, most) for loss, of in at.items()}
            upstream = crossed[0.02].xs(("", UPSTREAM), level=("target", "method"))
            both = pd.concat([at[0.02], upstream], axis=1, join="inner").to_numpy()
            earlier = f"{int((both[:, 0] < both[:, 1]).sum())} of {len(both)}"
            rows.append(row | {"networks that lose 2 points before upstream does": earlier if target else "—"})
    return pd.DataFrame(rows)


def _range(values: pd.Series, most: float) -> str:
    """The median, and the lowest and highest, in per cent; beyond the largest sparsity as "> 96"."""

    def words(value: float) -> str:
        return f"> {percent(most)}" if np.isinf(value) else f"{100 * value:.0f}"

    low, middle, high = (np.quantile(values, share, method="lower") for share in (0, 0.5, 1))
    return f"{words(middle)} % [{words(low)}, {words(high)}]"
