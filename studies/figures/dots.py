"""Means with intervals as dots: a row for each arm, a panel for each target, a colour and marker for each group."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.figures import style

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "os^Dv"
APART = 0.2  # between groups, in rows


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
) -> Figure:
    """Draw what `summarise` gives.

    Parameters
    ----------
    table
        Columns row, panel and group (labels, in order of appearance), mean, low, high, n, n_diverged.
    levels
        For each panel a value to mark with a dashed line, named `level_label`.
    zero
        The values are differences: mark zero.
    order
        Of the rows; as they appear, if not given.
    bounds
        That the values cannot leave; intervals are cut there.
    """
    rows, panels, groups = (list(dict.fromkeys(table[column])) for column in ("row", "panel", "group"))
    rows = [row for row in order or rows if row in rows]
    space = 0.2 + 0.1 * min(len(groups), 4)
    figure, axes = style.new_figure(1, len(panels), 1.5 + space * len(rows), sharey=True)
    for panel, axis in zip(panels, axes[0], strict=True):
        for g, group in enumerate(groups):
            shift = APART * (g - (len(groups) - 1) / 2)
            look = {"color": COLOURS[g % len(COLOURS)], "marker": MARKERS[g % len(MARKERS)]}
            here = table[(table["panel"] == panel) & (table["group"] == group)]
            for one in here.itertuples():
                y = rows.index(one.row) + shift
                if one.n:
                    bar = [[one.mean - one.low], [one.high - one.mean]]
                    axis.errorbar([one.mean], [y], xerr=bar, ls="", lw=1.2, ms=4, **look)
                if one.n_diverged:
                    place = {"xycoords": ("axes fraction", "data"), "color": look["color"], "va": "center"}
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
        axis.xaxis.set_major_locator(MaxNLocator(7 if len(panels) == 1 else 4))
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        axes[0, 0].plot([], [], MARKERS[g % len(MARKERS)], color=COLOURS[g % len(COLOURS)], label=group)[0]
        for g, group in enumerate(groups)
    ]
    if levels and level_label:
        handles += axes[0, 0].plot([], [], color=style.GREY, ls="--", lw=1, label=level_label)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    style.caption(figure, title, note)
    return figure


def within(limits: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, no further out than `bounds` and a margin."""
    margin = 0.03 * (bounds[1] - bounds[0])
    return max(limits[0], bounds[0] - margin), min(limits[1], bounds[1] + margin)
