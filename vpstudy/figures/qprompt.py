"""Figures of the qprompt study that are no dots: size, training curves, weights, distance from the start."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from vpstudy.figures import dots, style

BASE, NEW = "#0072B2", "#D55E00"


def scatter(
    table: pd.DataFrame, x: str, panels: Sequence[str], xlabel: str, title: str, note: str, logarithmic: bool = False
) -> Figure:
    """Accuracy with intervals against what an arm costs, or how far it went: a panel for each group.

    Parameters
    ----------
    table
        Columns kind (in the legend), short (beside the point), panel, `x`, mean, low, high.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    figure, axes = style.new_figure(1, len(panels), 4.2, sharex=True)
    for panel, axis in zip(panels, axes[0], strict=True):
        here = table[table["panel"] == panel]
        for k, kind in enumerate(kinds):
            mine = here[here["kind"] == kind]
            look = {"color": sns.color_palette("colorblind")[k % 10], "marker": "os^DvPX*"[k % 8]}
            bars = [mine["mean"] - mine["low"], mine["high"] - mine["mean"]]
            axis.errorbar(mine[x], mine["mean"], yerr=bars, ls="", lw=1, ms=5, label=kind, **look)
        for n, one in enumerate(here.sort_values(x).itertuples()):
            place = {"textcoords": "offset points", "size": 6, "color": "0.25"}
            axis.annotate(one.short, (getattr(one, x), one.mean), xytext=(4, 4 if n % 2 else -8), **place)
        if logarithmic:
            axis.set_xscale("log")
        axis.set_title(panel, weight="bold")
        axis.set_xlabel(xlabel)
    axes[0, 0].set_ylabel("test accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    style.caption(figure, title, note)
    return figure


def curves(panels: Mapping[str, pd.DataFrame], title: str, note: str) -> Figure:
    """Accuracy on base and new over epochs, a column for each set of arms, a row for each group.

    Parameters
    ----------
    panels
        By title: a frame with the columns label, epoch, base, new; means over runs.
    """
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
    """How weights change: histograms of one run at its first, middle and last stage, and measures over epochs.

    Parameters
    ----------
    table
        Columns arm, epoch, sigma, ks, kl, beyond_3; means over runs.
    histograms
        By arm: "edges", and "counts" by epoch.
    labels
        Of the arms, in the order in which they are drawn.
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
        axis.set_xlabel("standardised weight")
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
