"""Figures of the notebooks of prompts: captions, accuracy over epochs, the weights of a prompt, its arms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from studies.figures import cell, style

BASE, NEW = "#0072B2", "#D55E00"
Row = dict[str, Any]  # as in a result record


def captioned(pictures: Sequence, captions: Sequence[str], columns: int = 4) -> Figure:
    """Pictures (3, H, W), each above what is said of it."""
    rows = -(-len(pictures) // columns)
    figure, axes = style.new_figure(rows, columns, 0.4 + 1.35 * rows)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, text in zip(axes.flat, pictures, captions, strict=False):
        style.show(axis, picture)
        axis.set_xlabel(text.replace("a picture of a ", "a picture of a\n"), size=7)
    style.caption(figure, "Pictures and their captions")
    return figure


def arms(rows: Sequence[Row]) -> Figure:
    """Accuracy on base and new of every arm: a point for each seed, a bar for their mean."""
    names, groups = (list(dict.fromkeys(row[key] for row in rows)) for key in ("arm", "group"))
    figure, axes = style.new_figure(1, len(groups), 1.3 + 0.24 * len(names), sharey=True)
    for axis, group, colour in zip(axes[0], groups, (BASE, NEW), strict=False):
        for y, name in enumerate(names):
            found = [row for row in rows if (row["arm"], row["group"]) == (name, group)]
            values = [row["metrics"]["accuracy"] for row in found if row["status"] == "ok"]
            axis.plot(values, [y] * len(values), "o", color=colour, alpha=0.5, mew=0)
            if values:
                axis.plot([np.mean(values)], [y], "|", ms=11, mew=2, color=colour)
            if len(values) < len(found):
                axis.annotate(f"✕ {len(found) - len(values)}", (0.01, y), xycoords=("axes fraction", "data"))
        axis.set_title(f"{group} classes", weight="bold")
        axis.set_xlabel("test accuracy")
        axis.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    style.caption(figure, "What each arm reaches", "A point for each seed, a bar for their mean; ✕: so many diverged.")
    return figure


def curves(of_arms: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Accuracy on base and new over epochs, a panel for each arm; thin: a seed each, thick: their mean."""
    columns = min(len(of_arms), 4)
    lines = -(-len(of_arms) // columns)
    figure, axes = style.new_figure(lines, columns, 0.9 + 1.7 * lines, sharex=True, sharey=True)
    for axis in axes.flat[len(of_arms) :]:
        axis.set_visible(False)
    for axis, (name, seeds) in zip(axes.flat, of_arms.items(), strict=False):
        for group, colour, dashes in (("base", BASE, "-"), ("new", NEW, "--")):
            epochs = [entry["epoch"] for entry in next(iter(seeds.values()))]
            values = np.array([[entry[group] for entry in curve] for curve in seeds.values()])
            axis.plot(epochs, values.T, color=colour, ls=dashes, lw=0.6, alpha=0.5)
            axis.plot(epochs, values.mean(0), color=colour, ls=dashes, lw=2, label=group)
        axis.set_title(name, weight="bold")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for row in axes:
        row[0].set_ylabel("test accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    style.caption(
        figure, "Base and new over training", "Diagnostics: nothing is chosen on them. Thick: mean of the seeds."
    )
    return figure


def weights(context, packed=None) -> Figure:
    """A histogram of a context's values, and the values of its codebook as lines, if it has one."""
    figure, ((axis,),) = style.new_figure(1, 1, 2.4)
    values = np.asarray(context).ravel()
    axis.hist(values, 60, color=BASE, alpha=0.7, lw=0)
    if packed is not None:
        for value in packed.book.float().numpy():
            axis.axvline(value, color=NEW, lw=1)
        axis.plot([], [], color=NEW, lw=1, label=f"codebook, {packed.bits} bit")
        figure.legend(loc="outside lower center")
    axis.set(xlabel="value of a weight", ylabel="weights")
    style.caption(figure, "The weights of the learned prompt", f"{values.size} values, of the first seed.")
    return figure


def reliability(rows: Sequence[Row]) -> Figure | str:
    """Confidence against accuracy on base and new, all arms' first and all seeds of it together."""
    first = rows[0]["arm"]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    figure, axes = style.new_figure(2, len(groups), 3.2, height_ratios=(3, 1), sharex=True, sharey="row")
    for group, top, bottom, colour in zip(groups, axes[0], axes[1], (BASE, NEW), strict=False):
        found = [r["reliability"] for r in rows if (r["arm"], r["group"], r["status"]) == (first, group, "ok")]
        if found:
            cell.reliability_panel(top, bottom, cell.pool(found), colour)
        top.set_title(f"{first}, {group} classes")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy in bin")
    axes[1, 0].set_ylabel("share of\npictures")
    style.caption(figure, "Confidence against accuracy", cell.READING)
    return figure
