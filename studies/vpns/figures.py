"""Figures of the vpns study that are no dots: layers, channels, prompts, reliability."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.figures import cell, dots, style
from studies.figures.pictures import decoded
from vpstudy.training.mask_search.methods import METHODS

SHOWN = ("dense", "omp", "hydra", "vpns")  # in the reliability diagrams


def percent(sparsity: float) -> str:
    """A sparsity or a ratio of channels, in words."""
    return f"{100 * sparsity:.0f} %"


def layers(densities: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """A heat map of the share of weights that is left: a row for each method, a column for each layer."""
    names = list(next(iter(densities.values())))
    values = np.array([[of.get(name, np.nan) for name in names] for of in densities.values()])
    figure, ((axis,),) = style.new_figure(1, 1, 1.9 + 0.24 * len(densities))
    with np.errstate(divide="ignore"):
        shown = np.log10(np.maximum(values, 1e-4))
    image = axis.imshow(shown, cmap="cividis", aspect="auto", vmin=-3, vmax=0)
    for (y, x), value in np.ndenumerate(values):
        words = "0" if value == 0 else f"{100 * value:.0f}" if value >= 0.0095 else f"{100 * value:.1f}"
        axis.text(x, y, words, ha="center", va="center", size=7, color="white" if shown[y, x] < -1.2 else "black")
    axis.set_yticks(range(len(densities)), list(densities))
    axis.set_xticks(range(len(names)), [n.removesuffix(".weight") for n in names], rotation=45, ha="right")
    axis.grid(False)
    bar = figure.colorbar(image, ax=axis, ticks=[-3, -2, -1, 0])
    bar.set_ticklabels(["0.1", "1", "10", "100"])
    bar.set_label("weights left (%)")
    style.caption(figure, title, "From input to output, mean of the runs that are shown in the cells' notebooks.")
    return figure


def channels(table: pd.DataFrame) -> Figure:
    """Accuracy of networks without some of their channels, against multiplications, parameters and latency.

    Parameters
    ----------
    table
        Columns target, pruner, sparsity (the share of channels that is gone), mean, low, high, macs,
        parameters, latency_ms (means over source checkpoints).
    """
    targets = list(dict.fromkeys(table["target"]))
    measures = {"macs": "MACs (millions)", "parameters": "parameters (thousands)", "latency_ms": "ms a batch, measured"}
    scale = {"macs": 1e6, "parameters": 1e3, "latency_ms": 1}
    figure, axes = style.new_figure(len(targets), 3, 1.2 + 2.1 * len(targets), sharey="row", sharex="col")
    for target, row in zip(targets, axes, strict=True):
        for (measure, words), axis in zip(measures.items(), row, strict=True):
            for k, (pruner, mine) in enumerate(table[table["target"] == target].groupby("pruner", sort=False)):
                x = mine[measure] / scale[measure]
                look = {"color": dots.COLOURS[k % 5], "marker": dots.MARKERS[k % 5], "label": METHODS[pruner].label}
                bars = [mine["mean"] - mine["low"], mine["high"] - mine["mean"]]
                axis.errorbar(x, mine["mean"], yerr=bars, lw=1.2, ms=4, **look)
            if target == targets[-1]:
                axis.set_xlabel(words)
        row[0].set_ylim(dots.within(row[0].get_ylim(), (0, 1)))
        row[0].set_ylabel(f"{target}\ntest accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    note = "Channels are removed in fact. Latency depends on the machine and on what runs beside it."
    style.caption(figure, "Channels removed: accuracy against cost", note)
    return figure


def prompts(rows: pd.DataFrame) -> Figure:
    """The learned frames and patches: a row for each target, a column for each method that learns one."""
    targets, pruners = list(dict.fromkeys(rows["target"])), list(dict.fromkeys(rows["pruner"]))
    columns = min(len(pruners), 6)
    lines = -(-len(pruners) // columns)
    figure, axes = style.new_figure(len(targets) * lines, columns, 0.8 + 1.5 * len(targets) * lines)
    for axis in axes.flat:
        style.bare(axis)
    for t, target in enumerate(targets):
        for p, pruner in enumerate(pruners):
            axis = axes[t * lines + p // columns, p % columns]
            found = rows[(rows["target"] == target) & (rows["pruner"] == pruner)]
            if len(found):
                style.show(axis, decoded(found.iloc[0]["prompt_png"]))
            axis.set_title(METHODS[pruner].label.replace(" in ", "\nin ").replace(" at ", "\nat "), size=7)
        axes[t * lines, 0].set_ylabel(target)
    style.caption(figure, "The learned prompts", "What is added to a picture, on grey. Training starts from nothing.")
    return figure


def reliability(frame: pd.DataFrame, sparsity: float) -> Figure:
    """Reliability of dense, magnitude-pruned, HYDRA's and VPNs' networks, a row for each target; seeds pooled."""
    targets = list(dict.fromkeys(frame["target"]))
    shown: Sequence[str] = [name for name in SHOWN if name in set(frame["pruner"])]
    figure, axes = style.new_figure(
        2 * len(targets),
        len(shown),
        1.0 + 2.0 * len(targets),
        height_ratios=(3, 1) * len(targets),
        sharex=True,
        sharey="row",
    )
    for target, tops, bottoms in zip(targets, axes[::2], axes[1::2], strict=True):
        for k, (name, top, bottom) in enumerate(zip(shown, tops, bottoms, strict=True)):
            mine = frame[(frame["target"] == target) & (frame["pruner"] == name) & (frame["status"] == "ok")]
            mine = mine[mine["sparsity"].isin([0.0, sparsity])]
            words = "no run finished"
            if len(mine):
                cell.reliability_panel(top, bottom, cell.pool(list(mine["reliability"])), dots.COLOURS[k])
                words = f"ECE {mine['ece_debiased'].mean():.3f}"
            top.set_title(f"{METHODS[name].label}\n{words}" if target == targets[0] else words)
        tops[0].set_ylabel(f"{target}\naccuracy in bin")
        bottoms[0].set_ylabel("share of\npictures")
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    note = f"{cell.READING} Pruned: {percent(sparsity)}. ECE: debiased, mean of seeds."
    style.caption(figure, "Reliability of pruned networks", note)
    return figure
