"""Figures of the notebook of protocols: accuracy by number of pictures, and on each kind of pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from studies.figures import style

Row = dict[str, Any]  # as in a result record
LOOKS = (("#666666", "s", ":"), ("#0072B2", "o", "-"), ("#D55E00", "^", "--"), ("#009E73", "D", "-."))
ZERO_SHOT = "zero-shot"


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
