"""Where the quantity that the paper's code logs and the calibration error disagree, on this study's own runs."""

from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from studies.figures import panels, style

MARKERS = "os^Dv"


def draw(results: pd.DataFrame) -> Figure:
    """A panel for each method, a point for each run: the legacy quantity against ECE. One backbone.

    Runs are ranked within their target only: the legacy quantity depends on the number of test pictures, too, where
    that is below a batch, and then its level tells targets apart, not runs.
    """
    backbone = panels.only_backbone(results)
    runs = results[results["status"] == "ok"]
    methods, targets = style.methods(runs["method"]), list(dict.fromkeys(runs["target"]))
    figure, (axes,) = style.new_figure(1, len(methods), 3.6, sharey=True)
    opposite = compared = 0
    for method, axis in zip(methods, axes, strict=True):
        mine, ranks = runs[runs["method"] == method], []
        for k, target in enumerate(targets):
            here = mine[mine["target"] == target]
            look = {"color": style.method(method).colour, "alpha": 0.55, "mew": 0, "ms": 4}
            axis.plot(here["ece"], here["legacy_ece"], MARKERS[k % len(MARKERS)], **look)
            one, all_ = disagreements(here["ece"].to_numpy(float), here["legacy_ece"].to_numpy(float))
            opposite, compared = opposite + one, compared + all_
            if min(here["ece"].nunique(), here["legacy_ece"].nunique()) > 1:
                ranks.append(stats.spearmanr(here["ece"], here["legacy_ece"]).statistic)
        axis.set_title(f"{style.method(method).label}\n{rank_words(ranks)}")
        axis.set_xlabel("ECE")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("legacy quantity")
    handles = [
        axes[0].plot([], [], MARKERS[k % len(MARKERS)], color=style.GREY, label=target)[0]
        for k, target in enumerate(targets)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(targets))
    share = f"{100 * opposite / max(compared, 1):.0f} %"
    note = (
        f"A point for each run. The legacy quantity takes raw logits for probabilities and shrinks with the batch: of "
        f"{compared:,} pairs of runs of one method on one target it ranks {opposite:,} ({share}) in opposite order. "
        "ρ: Spearman's rank correlation within a target, its mean and range over targets."
    )
    style.caption(figure, f"What the original code logs is not the calibration error ({backbone})", note)
    return figure


def rank_words(ranks: list[float]) -> str:
    """The mean of one correlation a target, and the range of several."""
    if not ranks:
        return "too few runs to rank"
    low, mean, high = (f"{value:+.2f}".replace("-", "−") for value in (min(ranks), np.mean(ranks), max(ranks)))
    return f"ρ = {mean}" + (f" ({low} … {high})" if len(ranks) > 1 else "")


def disagreements(ece: np.ndarray, legacy: np.ndarray) -> tuple[int, int]:
    """Of all pairs of runs, how many the two measures rank in opposite order; ties count as agreement."""
    pairs = list(combinations(range(len(ece)), 2))
    return sum((ece[i] - ece[j]) * (legacy[i] - legacy[j]) < 0 for i, j in pairs), len(pairs)
