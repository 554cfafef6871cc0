"""Figures of the vpns study: those of a cell's notebook, and those of the report that are no dots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from studies.figures import cell, dots, style
from studies.vpns.evidence import percent
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # a sparsity each
SHOWN = ("dense", "omp", "hydra", "vpns")  # in the reliability diagrams of the report
Row = dict[str, Any]  # of a result


def arm_label(arm: str, view: str) -> str:
    """What was done, and whether a prompt was there when it was measured."""
    words = CONTROLS[arm].label if arm in CONTROLS else {"main": "tuned", "published": "as published"}[arm]
    return f"{words} (with prompt)" if view == "prompted" else words


def cell_arms(rows: Sequence[Row], classes: int) -> Figure:
    """Test accuracy of every arm: a point for each seed, a bar for their mean, a colour for each sparsity."""
    names = list(dict.fromkeys((row["arm"], row["view"]) for row in rows))
    sparsities = sorted({row["sparsity"] for row in rows})
    figure, ((axis,),) = style.new_figure(1, 1, 1.4 + 0.3 * len(names) * max(1, len(sparsities) / 2))
    for s, sparsity in enumerate(sparsities):
        shift = 0.22 * (s - (len(sparsities) - 1) / 2)
        look = {"color": COLOURS[s % len(COLOURS)]}
        for y, name in enumerate(names):
            found = [r for r in rows if (r["arm"], r["view"]) == name and r["sparsity"] == sparsity]
            values = [r["metrics"]["accuracy"] for r in found if r["status"] == "ok"]
            axis.plot(values, [y + shift] * len(values), "o", alpha=0.5, mew=0, **look)
            if values:
                axis.plot([np.mean(values)], [y + shift], "|", ms=11, mew=2, **look)
            if len(values) < len(found):
                axis.annotate(f"✕ {len(found) - len(values)}", (0.01, y + shift), xycoords=("axes fraction", "data"))
        axis.plot([], [], "o", label=f"{percent(sparsity)} pruned", **look)
    axis.axvline(1 / classes, color=style.GREY, ls=":", lw=1, label="chance")
    axis.set_yticks(range(len(names)), [arm_label(*name) for name in names])
    axis.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.01), xlabel="test accuracy")
    axis.grid(False, axis="y")
    figure.legend(loc="outside lower center", ncols=len(sparsities) + 1)
    style.caption(figure, "What each arm reaches", "A point for each seed, a bar for their mean; ✕: so many diverged.")
    return figure


def cell_layers(densities: Mapping[str, Mapping[str, float]]) -> Figure:
    """The share of weights that is left in each layer, from input to output; `densities` by sparsity and layer."""
    figure, ((axis,),) = style.new_figure(1, 1, 3.2)
    for (sparsity, of_layers), colour in zip(densities.items(), COLOURS, strict=False):
        axis.plot(range(len(of_layers)), list(of_layers.values()), "o-", color=colour, label=percent(float(sparsity)))
        empty = [k for k, density in enumerate(of_layers.values()) if density == 0]
        axis.plot(empty, [axis.get_ylim()[0]] * len(empty), "X", color=style.ALARM, ms=8)
    names = [name.removesuffix(".weight") for name in next(iter(densities.values()))]
    axis.set_yscale("symlog", linthresh=0.01)
    axis.set_ylim(bottom=0)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set(ylabel="weights left (share)")
    figure.legend(loc="outside right center", title="pruned")
    style.caption(figure, "What is left of each layer", "First seed. A cross on the axis: nothing is left.")
    return figure


def cell_reliability(rows: Sequence[Row]) -> Figure:
    """Reliability of the tuned networks, a column for each sparsity, without the prompt and, where it is, with it."""
    finished = [row for row in rows if row["status"] == "ok" and row["arm"] == "main"]
    columns = list(dict.fromkeys((row["sparsity"], row["view"]) for row in finished))
    figure, axes = style.new_figure(2, max(len(columns), 3), 3.5, height_ratios=(3, 1), sharex=True, sharey="row")
    for axis in axes.flat:
        axis.set_axis_off()
    for (top, bottom), (sparsity, view) in zip(axes.T, columns, strict=False):
        pooled = [row for row in finished if (row["sparsity"], row["view"]) == (sparsity, view)]
        ece = np.mean([row["metrics"]["ece_debiased"] for row in pooled])
        colour = "#D55E00" if view == "prompted" else "#0072B2"
        cell.reliability_panel(top, bottom, cell.pool([row["reliability"] for row in pooled]), colour)
        seen = "with prompt" if view == "prompted" else "no prompt"
        top.set_title(f"{percent(sparsity)}, {seen}\ndebiased ECE {ece:.3f}")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy in bin")
    axes[1, 0].set_ylabel("share of\npictures")
    style.caption(figure, "Reliability: is the network right as often as it is confident?", cell.READING)
    return figure


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
    """Accuracy of networks without some of their channels, against multiplications and parameters.

    Parameters
    ----------
    table
        Columns target, pruner, mean, low, high, macs, parameters (means over source checkpoints).
    """
    targets = list(dict.fromkeys(table["target"]))
    measures = {"macs": ("MACs (millions)", 1e6), "parameters": ("parameters (thousands)", 1e3)}
    figure, axes = style.new_figure(len(targets), 2, 1.2 + 2.1 * len(targets), sharey="row", sharex="col")
    for target, row in zip(targets, axes, strict=True):
        for (measure, (words, unit)), axis in zip(measures.items(), row, strict=True):
            for k, (pruner, mine) in enumerate(table[table["target"] == target].groupby("pruner", sort=False)):
                x = mine[measure] / unit
                look = {"color": dots.COLOURS[k % 5], "marker": dots.MARKERS[k % 5], "label": METHODS[pruner].label}
                bars = [mine["mean"] - mine["low"], mine["high"] - mine["mean"]]
                axis.errorbar(x, mine["mean"], yerr=bars, lw=1.2, ms=4, **look)
            if target == targets[-1]:
                axis.set_xlabel(words)
        row[0].set_ylim(dots.within(row[0].get_ylim(), (0, 1)))
        row[0].set_ylabel(f"{target}\ntest accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    style.caption(figure, "Channels removed: accuracy against cost", "The networks are smaller in fact.")
    return figure


def prompts(pictures: Mapping[tuple[str, str], Path]) -> Figure:
    """The learned frames and patches by (target, pruner): a row for each target, a column for each pruner."""
    targets, pruners = (list(dict.fromkeys(names)) for names in zip(*pictures, strict=True))
    columns = min(len(pruners), 6)
    lines = -(-len(pruners) // columns)
    figure, axes = style.new_figure(len(targets) * lines, columns, 0.8 + 1.5 * len(targets) * lines)
    for axis in axes.flat:
        style.bare(axis)
    for t, target in enumerate(targets):
        for p, pruner in enumerate(pruners):
            axis = axes[t * lines + p // columns, p % columns]
            if (target, pruner) in pictures:
                style.show(axis, np.moveaxis(np.asarray(Image.open(pictures[target, pruner])), 2, 0))
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
