"""Dot plots of means with intervals: a row per arm, panels side by side, a colour and marker per group."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.figures import panels, style

ABREAST = 4  # panels in a line


def draw(
    table: pd.DataFrame,
    xlabel: str,
    title: str,
    note: str,
    *,
    levels: Mapping[str, float] | None = None,
    level_label: str = "",
    zero: bool = False,
    order: Sequence[str] = (),
    bounds: tuple[float, float] | None = None,
    looks: Mapping[str, dict[str, Any]] | None = None,
) -> Figure:
    """Draw a table of `summarise`: row, panel, group (labels), mean, low, high, n, n_diverged.

    `levels` marks a value per panel by a dashed line, named `level_label`; `zero` marks zero, for differences. `order`
    is that of the rows (default: as they appear). The axis ends at `bounds`, the possible range of the values. `looks`
    gives matplotlib's color, marker and mfc per group, in their order. Rows that a column `admitted` marks are hollow.
    """
    rows, titles, groups = panels.names(table, "row", order), panels.names(table, "panel"), panels.names(table, "group")
    looks = looks or {group: style.look(g) for g, group in enumerate(groups)}
    groups = [group for group in looks if group in groups]
    space, apart = 0.2 + 0.1 * len(groups), min(0.2, 0.8 / max(len(groups), 1))  # inches; rows
    lines = -(-len(titles) // ABREAST)
    columns = -(-len(titles) // lines)
    figure, axes = style.new_figure(lines, columns, 1.2 + lines * (0.3 + space * len(rows)), sharey=True)
    for axis in axes.flat[len(titles) :]:
        axis.set_visible(False)
    for panel, axis in zip(titles, axes.flat, strict=False):
        for g, group in enumerate(groups):
            here = table[(table["panel"] == panel) & (table["group"] == group) & table["row"].isin(rows)]
            y = here["row"].map(rows.index) + apart * (g - (len(groups) - 1) / 2)
            done = here["n"] > 0
            panels.errorbars(axis, here.loc[done, "mean"], y[done], here[done], looks[group] | {"ls": ""})
        for k, row in enumerate(rows):
            if mark := panels.lost(table[(table["panel"] == panel) & (table["row"] == row)], looks):
                text, colour = mark
                axis.annotate(text, (0.01, k), xycoords=("axes fraction", "data"), va="center", **colour)
        if levels and panel in levels:
            axis.axvline(levels[panel], color=style.GREY, ls="--", lw=1)
        if zero:
            axis.axvline(0, color="black", lw=0.8)
        axis.set_title(panel, weight="bold")
        axis.set_xlabel(xlabel)
        axis.grid(False, axis="y")
        if bounds:
            axis.set_xlim(panels.within(axis.get_xlim(), bounds))
        axis.xaxis.set_major_locator(MaxNLocator(7 if columns == 1 else 4))
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    shown = {group: looks[group] for group in groups if group}
    if "admitted" in table and not table["admitted"].all():
        shown[panels.HOLLOW] = {"color": style.GREY, "marker": "o", "mfc": "white"}
    if levels and level_label:
        shown[level_label] = {"color": style.GREY, "ls": "--", "lw": 1}
    panels.legend(figure, shown)
    style.caption(figure, title, note)
    return figure
