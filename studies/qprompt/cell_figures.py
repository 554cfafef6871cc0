"""Figures of the notebooks of single cells: captions, arms, training, weights, reliability, protocols."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from studies.figures import cell, style

BASE, NEW = "#0072B2", "#D55E00"
Row = dict[str, Any]  # as in a result
LOOKS = (("#666666", "s", ":"), ("#0072B2", "o", "-"), ("#D55E00", "^", "--"), ("#009E73", "D", "-."))
ZERO_SHOT = "zero-shot"


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


def by_shots(rows: Sequence[Row]) -> Figure:
    """Test accuracy against training pictures per class: a point for each seed, a line through their means."""
    figure, ((axis,),) = style.new_figure(1, 1, 3)
    shots = sorted({int(row["budget"]) for row in rows} - {0})
    for arm, (colour, marker, dashes) in _looks(rows).items():
        values = _accuracies([row for row in rows if row["arm"] == arm], lambda row: int(row["budget"]))
        if arm == ZERO_SHOT:
            axis.axhline(np.mean(values[0]), color=colour, ls=dashes, label=arm)
            continue
        for at, found in values.items():
            axis.plot([at] * len(found), found, marker, color=colour, alpha=0.4, mew=0)
        axis.plot(list(values), [np.mean(found) for found in values.values()], color=colour, ls=dashes, label=arm)
    axis.set_xscale("log", base=2)
    axis.set_xticks(shots, [str(each) for each in shots])
    axis.set(xlabel="training pictures per class", ylabel="test accuracy")
    figure.legend(loc="outside lower center", ncols=4)
    style.caption(
        figure, "From few pictures", "All classes of the target. A point for each seed, a line for their means."
    )
    return figure


def by_group(rows: Sequence[Row]) -> Figure:
    """Test accuracy on each kind of pictures: a point for each seed, a bar for their mean."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    figure, ((axis,),) = style.new_figure(1, 1, 1.2 + 0.4 * len(groups))
    looks = _looks(rows)
    for k, (arm, (colour, marker, _)) in enumerate(looks.items()):
        offset = 0.2 * (k - (len(looks) - 1) / 2)
        values = _accuracies([row for row in rows if row["arm"] == arm], lambda row: groups.index(row["group"]))
        for y, found in values.items():
            axis.plot(found, [y + offset] * len(found), marker, color=colour, alpha=0.4, mew=0)
            axis.plot([np.mean(found)], [y + offset], "|", color=colour, ms=9, mew=2)
        axis.plot([], [], marker, color=colour, label=arm)
    axis.set_yticks(range(len(groups)), ["as learned" if group == "all" else group for group in groups])
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.grid(False, axis="y")
    axis.set_xlabel("test accuracy")
    figure.legend(loc="outside lower center", ncols=4)
    style.caption(figure, "Pictures that prompts did not learn from", "A point for each seed, a bar for their mean.")
    return figure


def examples(pictures: Mapping[str, Sequence], columns: int = 8) -> Figure:
    """Some pictures (3, H, W) of each kind, a line for each."""
    figure, axes = style.new_figure(len(pictures), columns, 0.3 + 0.8 * len(pictures))
    for line, (name, shown) in zip(axes, pictures.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, picture in zip(line, shown, strict=False):
            style.show(axis, picture)
        line[0].set_ylabel(name)
    style.caption(figure, "Where prompts are measured")
    return figure


def _looks(rows: Sequence[Row]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and dashes of each arm."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    return {arm: LOOKS[k % len(LOOKS)] for k, arm in enumerate(arms)}


def _accuracies(rows: Sequence[Row], at) -> dict[int, list[float]]:
    """Accuracies of the runs that finished, by `at`, in increasing order."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["status"] == "ok":
            found.setdefault(at(row), []).append(row["metrics"]["accuracy"])
    return dict(sorted(found.items()))
