"""Shared parts of figures: series with intervals, diverged runs, limits, chance, legends, notes on seeds."""

import math
from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from studies.figures import style
from studies.figures.style import Line

BAND = 0.16  # opacity of an interval
BOUNDS = {"accuracy": (0.0, 1.0), "ece_debiased": (-1.0, 1.0)}  # a debiased estimate may lie below zero


def only_backbone(*frames: pd.DataFrame) -> str:
    """The one backbone in the frames. Raises ValueError unless there is exactly one."""
    found = sorted({name for frame in frames for name in frame["backbone"]})
    if len(found) != 1:
        raise ValueError(f"a figure shows one backbone; given: {', '.join(found) or 'none'}; filter the frames")
    return found[0]


def at_largest_budget(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs at the largest budget, and a note that names it."""
    budget = style.budgets(runs["budget"])[-1]
    return runs[runs["budget"] == budget], f"Budget: {style.budget_label(budget)}."


def chance_levels(results: pd.DataFrame) -> dict[str, float]:
    """Chance accuracy by target: 1 / number of classes, which is the length of any mapping."""
    mapped = results[results["mapping"].map(lambda value: isinstance(value, list))]
    return {target: 1 / len(mapping) for target, mapping in zip(mapped["target"], mapped["mapping"], strict=True)}


def series(axis: Axes, table: pd.DataFrame, look: Line, bars: bool = False) -> None:
    """A line through means (columns x, mean, low, high, n, n_diverged), with intervals as a band or bars."""
    table = table.sort_values("x")
    known = table.dropna(subset="mean")
    axis.plot(known["x"], known["mean"], color=look.colour, ls=look.dashes, marker=look.marker, zorder=3)
    if bars:
        axis.vlines(known["x"], known["low"], known["high"], color=look.colour, lw=1, zorder=2.5)
    else:
        axis.fill_between(table["x"], table["low"], table["high"], color=look.colour, alpha=BAND, lw=0)
    _diverged(axis, table, look)


def points(axis: Axes, table: pd.DataFrame, look: Line) -> None:
    """Hollow, unconnected markers with interval bars."""
    known = table.dropna(subset="mean")
    axis.vlines(known["x"], known["low"], known["high"], color=look.colour, lw=1, zorder=3.5)
    axis.plot(known["x"], known["mean"], look.marker, color=look.colour, mfc="white", ms=5.5, mew=1.3, zorder=4)
    _diverged(axis, table, look)


def _diverged(axis: Axes, table: pd.DataFrame, look: Line) -> None:
    outlined = [withStroke(linewidth=2.5, foreground="black")]
    white = {"boxstyle": "round,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
    for row in table[table["n_diverged"] > 0].itertuples():
        place = {"xy": (row.x, row.mean)}
        if not row.n:  # no mean: mark the foot of the panel
            place = {"xy": (row.x, 0.06), "xycoords": axis.get_xaxis_transform()}
        cross = {"color": look.colour, "size": 11, "path_effects": outlined}
        axis.annotate("✕", **place, ha="center", va="center", zorder=5, **cross)
        above = {"xytext": (6, 7), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        axis.annotate(f"{row.n_diverged} of {row.n + row.n_diverged}", **place, **above, bbox=white, zorder=5)


def limits(
    table: pd.DataFrame, also: Iterable[float] = (), bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """Limits within `bounds` that hold all means, the levels in `also`, and all but very wide intervals."""
    levels = pd.concat([table["mean"].astype(float), pd.Series(list(also), dtype=float)]).dropna()
    if levels.empty:
        return 0.0, 1.0
    spread = max(levels.max() - levels.min(), 0.1)
    low = min(levels.min(), table["low"].astype(float).clip(lower=levels.min() - 0.3 * spread).min())
    high = max(levels.max(), table["high"].astype(float).clip(upper=levels.max() + 0.3 * spread).max())
    return max(bounds[0], float(low - 0.06 * spread)), min(bounds[1], float(high + 0.06 * spread))


def budget_handles(budgets: list[str]) -> list[Line2D]:
    """Legend entries for budgets, in grey, because colours belong to methods."""
    looks = [(style.budget_label(budget), style.line(budget)) for budget in budgets]
    return [Line2D([], [], color=k.colour, ls=k.dashes, marker=k.marker, label=label) for label, k in looks]


def method_handles(methods: list[str]) -> list[Patch]:
    return [Patch(color=style.method(name).colour, label=style.method(name).label) for name in methods]


def chance_line(axis: Axes, level: float) -> Line2D:
    return axis.axhline(level, color=style.GREY, ls=":", lw=1, label="chance")


def legend_below(figure: Figure, handles: list) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=2.8, columnspacing=1.6)


def seeds_note(results: pd.DataFrame, intervals: str) -> str:
    """Note on runs per mean, on intervals and, if a run diverged, on crosses."""
    seeds, sources = results["seed"].nunique(), results["source_seed"].nunique()
    note = f"Means of {seeds} seeds; {intervals}: 95 % t intervals." if seeds > 1 else "One seed: no intervals."
    if sources > 1:
        note = f"Means of {sources} source checkpoints with {seeds} seeds each; {intervals}: 95 % t over checkpoints."
    some = (results["status"] == "diverged").any()
    return note + (" ✕ with a count: so many runs diverged and are not in the mean." if some else "")
