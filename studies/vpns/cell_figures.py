"""Figures of a pruning cell's notebook: accuracy of its arms, what is left of each layer, reliability."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from studies.figures import cell, style
from vpstudy.training.mask_search.methods import CONTROLS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # a sparsity each
Row = dict[str, Any]  # as in a result record


def arm_label(arm: str, view: str) -> str:
    """What was done, and whether a prompt was there when it was measured."""
    words = CONTROLS[arm].label if arm in CONTROLS else {"main": "tuned", "published": "as published"}[arm]
    return f"{words} (with prompt)" if view == "prompted" else words


def percent(sparsity: float) -> str:
    return f"{100 * sparsity:.0f} %"


def arms(rows: Sequence[Row], classes: int) -> Figure:
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


def layers(densities: Mapping[str, Mapping[str, float]]) -> Figure:
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


def reliability(rows: Sequence[Row]) -> Figure:
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
