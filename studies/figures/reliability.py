"""Reliability diagrams: accuracy against confidence, and how many answers of each confidence were right and wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import stats

from studies.figures import style

OVER, UNDER, RIGHT = style.ALARM, "#0072B2", style.GREY
LEGEND = {"too sure": OVER, "not sure enough": UNDER, "right (upwards)": RIGHT}
NOTE = "Bars: from mean confidence to accuracy in a bin of confidence, with the accuracy's 95 % interval."

Run = Mapping[str, Any]  # has reliability and ece_debiased


def draw(diagrams: Mapping[str, Mapping[str, Sequence[Run]]], title: str, note: str) -> Figure:
    """Diagrams by row label and column title, each of finished runs, which are pooled; none: "no run finished"."""
    columns = list(dict.fromkeys(column for line in diagrams.values() for column in line))
    shape = {"height_ratios": (3, 1) * len(diagrams), "sharex": True, "sharey": "row"}
    figure, axes = style.new_figure(2 * len(diagrams), max(len(columns), 3), 1.3 + 2.1 * len(diagrams), **shape)
    for axis in axes[:, len(columns) :].flat:
        axis.set_visible(False)
    for k, (row, line) in enumerate(diagrams.items()):
        tops, bottoms = axes[2 * k : 2 * k + 2, : len(columns)]
        for column, top, bottom in zip(columns, tops, bottoms, strict=True):
            runs, words = line.get(column, ()), "no run finished"
            if runs:
                _panel(top, bottom, pool([run["reliability"] for run in runs]), len(runs))
                words = f"ECE {np.mean([run['ece_debiased'] for run in runs]):.3f}".replace("-", "−")
            name = style.wrapped(column, (style.WIDTH - 0.7) / max(len(columns), 3))
            top.set_title(f"{name}\n{words}" if not k else words)
        tops[0].set_ylabel(f"{row}\naccuracy".strip())
        bottoms[0].set_ylabel("share")
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    handles = [Patch(color=colour, label=words) for words, colour in LEGEND.items()]
    handles.append(Patch(facecolor=OVER, hatch="////", edgecolor="white", label="wrong (downwards)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    style.caption(figure, title, f"{NOTE} Below: share of pictures. Seeds pooled; ECE: debiased, their mean. {note}")
    return figure


def _panel(top: Axes, bottom: Axes, bins: Mapping[str, np.ndarray], runs: int) -> None:
    count, accuracy, confidence = bins["count"], bins["accuracy"], bins["confidence"]
    width = 1 / len(count)
    centres, gap = (np.arange(len(count)) + 0.5) * width, accuracy - confidence
    top.plot([0, 1], [0, 1], color="black", ls="--", lw=0.7)
    top.bar(centres, gap, 0.8 * width, bottom=confidence, color=np.where(gap < 0, OVER, UNDER), lw=0)
    low, high = interval(accuracy, count // runs)  # runs share their test pictures
    top.vlines(centres, low, high, color="0.2", lw=1)
    top.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    right = np.nan_to_num(accuracy * count) / count.sum()
    bottom.bar(centres, right, width, color=RIGHT, edgecolor="white", lw=0.3)
    bottom.bar(centres, right - count / count.sum(), width, color=OVER, edgecolor="white", lw=0.3, hatch="////")
    bottom.axhline(0, color="black", lw=0.6)
    bottom.yaxis.set_major_locator(MaxNLocator(2))
    bottom.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
    bottom.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])


def pool(diagrams: Sequence[Mapping[str, list]]) -> dict[str, np.ndarray]:
    """Reliability bins (count, confidence, accuracy) pooled over runs; NaN in empty bins, where inputs have None."""
    counts = np.array([diagram["count"] for diagram in diagrams])
    total = counts.sum(axis=0)
    pooled = {"count": total}
    for key in ("confidence", "accuracy"):
        values = np.array([diagram[key] for diagram in diagrams], dtype=float)
        sums = np.where(counts > 0, counts * values, 0).sum(axis=0)
        pooled[key] = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    return pooled


def interval(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval (B,), (B,) of each share of `count` pictures; NaN for empty bins."""
    ends = [
        stats.binomtest(round(s * n), n).proportion_ci(method="wilson") if n else (np.nan, np.nan)
        for s, n in zip(share, count, strict=True)
    ]
    return tuple(np.array(ends, dtype=float).T)
