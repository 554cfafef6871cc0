"""Lines of means with intervals in a grid of panels."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import panels, style

DODGE = 0.018  # between groups with intervals, in widths of the axis


def draw(
    table: pd.DataFrame,
    xlabel: str,
    title: str,
    note: str,
    *,
    looks: Mapping[str, Mapping[str, Any]],
    ticks: Mapping[float, str] | None = None,
    levels: Mapping[tuple[str, str], float] | None = None,
    level_label: str = "chance",
    bounds: Mapping[str, tuple[float, float]] | None = None,
    also: Mapping[str, Mapping[str, Any]] | None = None,
    height: float = 1.75,
    sharey: str | bool = "row",
    dodge: float = DODGE,
) -> Figure:
    """Draw a table of `summarise`: line, panel, group (labels), x, mean, low, high, n, n_diverged.

    A row of panels per `line` (its y label), a column per `panel` (its title). Rows with `apart` are hollow and not
    joined. `looks` gives matplotlib's color, marker and ls per group; groups of one label look alike. `levels` marks
    values by dotted lines; the y axis of a line ends at its `bounds`. `also` adds entries to the legend. Groups with
    intervals are `dodge` widths of the axis apart.
    """
    rows, columns, groups = (panels.names(table, name) for name in ("line", "panel", "group"))
    groups = panels.names(table, "group", list(looks))
    figure, axes = style.new_figure(len(rows), len(columns), 1.25 + height * len(rows), sharex=True, sharey=sharey)
    width = max(float(table["x"].max() - table["x"].min()), 1e-9)
    step = dodge * width if table["low"].notna().any() else 0
    apart = table["apart"] if "apart" in table else pd.Series(False, table.index)
    for row, line in zip(rows, axes, strict=True):
        for column, axis in zip(columns, line, strict=True):
            inside = (table["line"] == row) & (table["panel"] == column)
            for g, group in enumerate(groups):
                shift, mine = step * (g - (len(groups) - 1) / 2), inside & (table["group"] == group)
                for some, look in ((mine & ~apart, {}), (mine & apart, {"ls": "", "mfc": "white", "ms": 5.5})):
                    here = table[some].sort_values("x")
                    done = here[here["n"] > 0]
                    if len(done):
                        panels.errorbars(axis, done["x"] + shift, done["mean"], done, looks[group] | look, across=True)
            for x, here in table[inside].groupby("x"):
                if mark := panels.lost(here, looks):
                    text, colour = mark
                    at = {"xycoords": ("data", "axes fraction"), "ha": "center", "rotation": 90}
                    axis.annotate(text, (x, 0.03), **at, **colour)
            if levels and (row, column) in levels:
                axis.axhline(levels[row, column], color=style.GREY, ls=":", lw=1)
        if bounds and row in bounds:
            line[0].set_ylim(panels.within(line[0].get_ylim(), bounds[row]))
        line[0].set_ylabel(row)
    for column, top, bottom in zip(columns, axes[0], axes[-1], strict=True):
        top.set_title(column, weight="bold")
        bottom.set_xlabel(xlabel)
        if ticks:
            turned = {"rotation": 90} if _crowded(ticks, width, len(columns)) else {}
            bottom.set_xticks(list(ticks), list(ticks.values()), **turned)
    shown = {group: looks[group] for group in groups} | dict(also or {})
    if levels:
        shown[level_label] = {"color": style.GREY, "ls": ":", "lw": 1}
    panels.legend(figure, shown)
    style.caption(figure, title, note)
    return figure


def _crowded(ticks: Mapping[float, str], width: float, columns: int) -> bool:
    """Whether labels would touch, all of them in a row or two neighbours, on an axis from end to end `width`."""
    places, longest = sorted(ticks), max(map(len, ticks.values()))
    nearest = min((right - left for left, right in pairwise(places)), default=width)
    across = 0.8 * style.WIDTH / columns  # inches of an axis, about
    return sum(map(len, ticks.values())) * columns > 75 or nearest / width * across < 0.7 * style.LETTER * longest
