"""Dot plots of means with intervals: a row per arm, a panel per target, a colour and marker per group."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.figures import style

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "os^Dv"


def look(k: int) -> dict[str, Any]:
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "ms": 4}


def draw(
    table: pd.DataFrame,
    xlabel: str,
    title: str,
    note: str,
    levels: Mapping[str, float] | None = None,
    level_label: str = "",
    zero: bool = False,
    order: Sequence[str] = (),
    bounds: tuple[float, float] | None = None,
    looks: Mapping[str, dict[str, Any]] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw a table of `summarise`: row, panel, group (labels), mean, low, high, n, n_diverged.

    `levels` marks a value per panel by a dashed line, named `level_label`; `zero` marks zero, for differences. `order`
    is that of the rows (default: as they appear). Intervals are cut at `bounds`, the possible range of the values.
    `looks` gives matplotlib's color, marker, ms and mfc per group, in their order (default: `look`); `limits` sets the
    x axis of each panel.
    """
    rows, panels, groups = (list(dict.fromkeys(table[column])) for column in ("row", "panel", "group"))
    rows = [row for row in order or rows if row in rows]
    looks = looks or {group: look(g) for g, group in enumerate(groups)}
    groups = [group for group in looks if group in groups]
    space, apart = 0.2 + 0.1 * min(len(groups), 4), min(0.2, 0.8 / max(len(groups), 1))  # inches; rows
    figure, axes = style.new_figure(1, len(panels), 1.5 + space * len(rows), sharey=True)
    for panel, axis in zip(panels, axes[0], strict=True):
        for g, group in enumerate(groups):
            here = table[(table["panel"] == panel) & (table["group"] == group)]
            for one in here.itertuples():
                y = rows.index(one.row) + apart * (g - (len(groups) - 1) / 2)
                if one.n:
                    bar = [[one.mean - one.low], [one.high - one.mean]]
                    axis.errorbar([one.mean], [y], xerr=bar, ls="", lw=1.2, **looks[group])
                if one.n_diverged:
                    place = {"xycoords": ("axes fraction", "data"), "color": looks[group]["color"], "va": "center"}
                    axis.annotate(f"✕ {one.n_diverged} of {one.n + one.n_diverged}", (0.01, y), **place)
        if levels and panel in levels:
            axis.axvline(levels[panel], color=style.GREY, ls="--", lw=1)
        if zero:
            axis.axvline(0, color="black", lw=0.8)
        axis.set_title(panel, weight="bold")
        axis.set_xlabel(xlabel)
        axis.grid(False, axis="y")
        if bounds:
            axis.set_xlim(within(axis.get_xlim(), bounds))
        if limits:
            axis.set_xlim(limits[panel])
        axis.xaxis.set_major_locator(MaxNLocator(7 if len(panels) == 1 else 4 if len(panels) < 5 else 2))
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [axes[0, 0].plot([], [], ls="", label=group, **looks[group])[0] for group in groups]
    if levels and level_label:
        handles += axes[0, 0].plot([], [], color=style.GREY, ls="--", lw=1, label=level_label)
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), max(1, 125 // (longest + 8))))
    style.caption(figure, title, note)
    return figure


def within(limits: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Axis limits, clipped to `bounds` plus a margin."""
    margin = 0.03 * (bounds[1] - bounds[0])
    return max(limits[0], bounds[0] - margin), min(limits[1], bounds[1] + margin)
