"""Figures of a vpns cell's notebook, and the report's figures that are not dot plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from studies.figures import cell, dots, panels, style
from studies.statistics import summarise
from studies.vpns.evidence import percent, treatment
from vpstudy.training.mask_search.methods import METHODS

Row = dict[str, Any]  # of a result, or of the frame of results


def cell_accuracy(rows: Sequence[Row], classes: int) -> Figure:
    """Test accuracy of every arm of a cell, from its result rows."""
    runs = pd.DataFrame([{**row, "source_seed": 0, "accuracy": (row["metrics"] or {}).get("accuracy")} for row in rows])
    table = summarise(runs, ["arm", "view", "sparsity"], "accuracy")
    labels = [treatment(row.arm, row.view) for row in table.itertuples()]
    table = table.assign(row=labels, panel="", group=table["sparsity"].map(percent))
    note = panels.seeds_note(runs, "bars")
    return dots.draw(table, "test accuracy", "What each arm reaches", note, {"": 1 / classes}, "chance", bounds=(0, 1))


def cell_layers(densities: Mapping[str, Mapping[str, float]]) -> Figure:
    """Share of weights left in each layer, by sparsity."""
    return layers(
        {percent(float(key)): of for key, of in densities.items()}, "What is left of each layer (%), by share pruned"
    )


def cell_reliability(rows: Sequence[Row], target: str) -> Figure:
    """Reliability of a cell's tuned networks, by sparsity and view."""
    of_views: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "ok" and row["arm"] == "main":
            label = f"{percent(row['sparsity'])}, {'with prompt' if row['view'] == 'prompted' else 'no prompt'}"
            of_views.setdefault(label, []).append(row | row["metrics"])
    return reliability({target: of_views}, "ECE: debiased, mean of seeds.")


def layers(densities: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Heat map of the share of weights left, a column for each layer."""
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
    style.caption(figure, title, "From input to output; first seeds.")
    return figure


def channels(table: pd.DataFrame) -> Figure:
    """Accuracy against MACs and parameters; `table` has target, pruner, mean, low, high, macs, parameters."""
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
    """Learned frames and patches by (target, pruner): targets as rows, pruners as columns."""
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


def reliability(grid: Mapping[str, Mapping[str, Sequence[Row]]], note: str) -> Figure:
    """Reliability diagrams by row and column label; runs have `reliability` and `ece_debiased`, and are pooled."""
    columns = list(dict.fromkeys(column for of_row in grid.values() for column in of_row))
    figure, axes = style.new_figure(
        2 * len(grid),
        len(columns),
        1.0 + 2.0 * len(grid),
        height_ratios=(3, 1) * len(grid),
        sharex=True,
        sharey="row",
    )
    for (label, of_row), tops, bottoms in zip(grid.items(), axes[::2], axes[1::2], strict=True):
        for k, (column, top, bottom) in enumerate(zip(columns, tops, bottoms, strict=True)):
            rows, words = of_row.get(column, ()), "no run finished"
            if rows:
                pooled = cell.pool([row["reliability"] for row in rows])
                cell.reliability_panel(top, bottom, pooled, dots.COLOURS[k % 5])
                words = f"ECE {np.mean([row['ece_debiased'] for row in rows]):.3f}"
            top.set_title(f"{column}\n{words}" if label == next(iter(grid)) else words)
        tops[0].set_ylabel(f"{label}\naccuracy in bin")
        bottoms[0].set_ylabel("share of\npictures")
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    style.caption(figure, "Reliability of pruned networks", f"{cell.READING} {note}")
    return figure
