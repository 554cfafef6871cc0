"""Figures of the qprompt study other than dot plots: size, training curves, weights, distance from the start."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.figures import dots, style

RINGS = [sign * dy for dy in range(22, 140, 8) for sign in (1, -1)]  # vertical offsets of a text from its point


def scatter(
    table: pd.DataFrame, x: str, panels: Sequence[str], xlabel: str, title: str, note: str, logarithmic: bool = False
) -> Figure:
    """Accuracy with intervals against `x`, the cost of an arm or its distance from the start, in `panels`.

    `table` has the columns kind (in the legend), short (beside the point), panel, `x`, mean, low, high. Kinds without
    any `short` are drawn as open markers on top.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    figure, axes = style.new_figure(1, len(panels), 4.2, sharex=True)
    for panel, axis in zip(panels, axes[0], strict=True):
        here = table[table["panel"] == panel]
        for k, kind in enumerate(kinds):
            mine = here[here["kind"] == kind]
            look = {"color": _colour(k), "marker": "os^DvPX*"[k % 8], "ms": 5}
            if not mine["short"].any():
                look |= {"mfc": "none", "ms": 8, "mew": 1.5, "zorder": 4}
            bars = [mine["mean"] - mine["low"], mine["high"] - mine["mean"]]
            axis.errorbar(mine[x], mine["mean"], yerr=bars, ls="", lw=1, label=kind, **look)
        if logarithmic:
            axis.set_xscale("log")
        axis.set_title(panel, weight="bold")
        axis.set_xlabel(xlabel)
    axes[0, 0].set_ylabel("test accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    style.caption(figure, title, note)
    figure.get_layout_engine().execute(figure)  # fixes the positions of points on the page
    for panel, axis in zip(panels, axes[0], strict=True):
        _name(axis, table[(table["panel"] == panel) & (table["short"] != "")], x, kinds)
    return figure


def _name(axis: Axes, points: pd.DataFrame, x: str, kinds: Sequence[str]) -> None:
    """Write `short` as near to each point as there is room, with a line to the point."""
    scale = 72 / axis.figure.dpi  # pixels to typographic points, the unit of text
    taken: list[tuple[float, float, float, float]] = []  # left, low, right, high
    frame = axis.get_window_extent()
    for one in points.sort_values([x, "mean"]).itertuples():
        at = scale * axis.transData.transform((getattr(one, x), one.mean))
        width = 4 * len(one.short)
        offsets = [(dx, dy) for dy in (2, -8, 12, -18, *RINGS) for dx in (5, -5 - width)]
        for dx, dy in offsets:
            left, low = at[0] + dx, at[1] + dy
            box = (left, low, left + width, low + 7)
            inside = box[2] < scale * frame.x1 and scale * frame.y0 < low and box[3] < scale * frame.y1
            if inside and not any(_overlap(box, other) for other in taken):
                break
        else:
            continue  # no room nearby
        taken.append(box)
        colour = _colour(kinds.index(one.kind))
        line = {"arrowstyle": "-", "lw": 0.4, "color": colour, "shrinkA": 0, "shrinkB": 0}
        place = {"textcoords": "offset points", "size": 6, "color": colour, "zorder": 5}
        axis.annotate(one.short, (getattr(one, x), one.mean), xytext=(dx, dy), arrowprops=line, **place)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _colour(k: int) -> tuple[float, ...]:
    return sns.color_palette("colorblind")[k % 10]


def curves(panels: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """Accuracy over epochs; `panels` are frames by title: label, epoch, base, new (means over runs)."""
    figure, axes = style.new_figure(2, len(panels), 4.6, sharex=True, sharey="row")
    for (name, frame), column in zip(panels.items(), axes.T, strict=True):
        labels = list(dict.fromkeys(frame["label"]))
        colours = sns.color_palette("viridis", len(labels))
        for group, axis in zip(("base", "new"), column, strict=True):
            for label, colour, marker in zip(labels, colours, "os^DvPX*" * 3, strict=False):
                mine = frame[frame["label"] == label]
                axis.plot(mine["epoch"], mine[group], color=colour, marker=marker, ms=3, label=label)
        column[0].set_title(name, weight="bold")
        column[1].set_xlabel("epoch")
        column[0].legend(fontsize=6.5, loc="lower right")
    for row, group in zip(axes, ("base", "new"), strict=True):
        row[0].set_ylabel(f"test accuracy, {group}")
    style.caption(figure, title, note)
    return figure


def weights(
    table: pd.DataFrame, histograms: Mapping[str, Mapping], labels: Mapping[str, str], title: str, note: str
) -> Figure:
    """Weight histograms of one run at its first, middle and last stage, and weight statistics over epochs.

    `table` has the columns arm, epoch, sigma, ks, kl, beyond_3 (means over runs), `histograms` by arm the "edges" and,
    by epoch, the "counts"; `labels` are in drawing order.
    """
    arms = [arm for arm in labels if arm in histograms]
    figure, axes = style.new_figure(2, max(len(arms), 4), 4.4)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, arm in zip(axes[0], arms, strict=False):
        axis.set_visible(True)
        counts, edges = histograms[arm]["counts"], np.array(histograms[arm]["edges"])
        epochs = sorted(counts, key=int)
        for epoch, colour in zip((epochs[0], epochs[len(epochs) // 2], epochs[-1]), dots.COLOURS, strict=False):
            axis.stairs(counts[epoch], edges, color=colour, label=f"epoch {epoch}")
        axis.set_title(labels[arm], weight="bold")
        axis.set_xlabel("standardised weight", size=7)
    axes[0, 0].set_ylim(top=1.5 * axes[0, 0].get_ylim()[1])  # room for the legend
    axes[0, 0].legend(fontsize=6, handlelength=0.8, loc="upper left", borderpad=0.1)
    axes[0, 0].set_ylabel("weights")
    measures = {
        "sigma": "σ of weights",
        "ks": "KS to start",
        "kl": "KL to stage before",
        "beyond_3": "share beyond 3 σ",
    }
    for axis, (column, words) in zip(axes[1], measures.items(), strict=False):
        axis.set_visible(True)
        for arm, colour, marker in zip(labels, dots.COLOURS, dots.MARKERS, strict=False):
            mine = table[table["arm"] == arm]
            axis.plot(mine["epoch"], mine[column], color=colour, marker=marker, ms=3, label=labels[arm])
        axis.set_title(words)
        axis.set_xlabel("epoch")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    style.caption(figure, title, note)
    return figure
