"""Shared parts of figures: marks of diverged runs, limits, legends, notes on seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.figures import style
from studies.statistics import are_pooled

HOLLOW = "hollow: the network collapsed, no claim rests on it"


def names(table: pd.DataFrame, column: str, order=()) -> list[str]:
    """Distinct values of a column, in the given order or as they appear."""
    found = list(dict.fromkeys(table[column]))
    return [name for name in order if name in found] or found


def errorbars(axis: Axes, x, y, table: pd.DataFrame, look: Mapping[str, Any], across: bool = False) -> None:
    """Means with their intervals, along x or `across` along y; hollow where a row is not `admitted`."""
    bars = [table["mean"] - table["low"], table["high"] - table["mean"]]
    axis.errorbar(x, y, **{"yerr" if across else "xerr": bars}, elinewidth=1.1, **look)
    if "admitted" in table and not table["admitted"].all():
        out = ~table["admitted"].to_numpy(bool)
        axis.plot(pd.Series(x).to_numpy()[out], pd.Series(y).to_numpy()[out], **look | {"ls": "", "mfc": "white"})


def lost(table: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """A mark such as "✕ 1 of 3" for the runs of groups in which some diverged, and its colour; None without such."""
    some = table[table["n_diverged"] > 0]
    if some.empty:
        return None
    diverged, of = some["n_diverged"].sum(), (some["n"] + some["n_diverged"]).sum()
    colour = looks[some["group"].iloc[0]]["color"] if len(some) == 1 else style.GREY
    return f"✕ {diverged} of {of}", {"color": colour}


def within(limits: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Axis limits, clipped to `bounds` plus a margin."""
    margin = 0.03 * (bounds[1] - bounds[0])
    return max(limits[0], bounds[0] - margin), min(limits[1], bounds[1] + margin)


def legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """A legend below the panels, from labels and looks, in as many columns as fit."""
    handles = [Line2D([], [], **{"ls": ""} | dict(look), label=label) for label, look in looks.items()]
    longest = max((len(label) for label in looks), default=0)
    columns = min(len(handles), max(1, 118 // (longest + 8)))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.4, columnspacing=1.6)


def chance_levels(results: pd.DataFrame) -> dict[str, float]:
    """Chance accuracy by target: 1 / number of classes, which is the length of any mapping."""
    mapped = results[results["mapping"].map(lambda value: isinstance(value, list))]
    return {target: 1 / len(mapping) for target, mapping in zip(mapped["target"], mapped["mapping"], strict=True)}


def at_largest_budget(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs at the largest budget, and a note that names it."""
    budget = style.budgets(runs["budget"])[-1]
    return runs[runs["budget"].isin([budget])], f"Budget: {style.budget_label(budget)}."


def seeds_note(results: pd.DataFrame, intervals: str = "bars") -> str:
    """Note on runs per mean, on intervals and, if a run diverged, on crosses."""
    seeds, sources = results["seed"].nunique(), results["source_seed"].nunique()
    note = f"Means of {seeds} seeds; {intervals}: 95 % t intervals." if seeds > 1 else "One seed: no intervals."
    if sources > 1:
        of, over = ("networks",) * 2 if are_pooled(results) else ("source checkpoints", "checkpoints")
        note = f"Means of {sources} {of} with {seeds} seed{'s' * (seeds > 1)} each; {intervals}: 95 % t over {over}."
    some = (results["status"] == "diverged").any()
    return note + (" ✕ with a count: so many runs diverged and are not in the mean." if some else "")
