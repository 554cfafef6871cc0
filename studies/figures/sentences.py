"""One sentence with numbers about what a figure shows, from the table that it draws."""

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure


class Drawn(NamedTuple):
    """A figure, and what it shows in one sentence."""

    figure: Figure
    sentence: str


def extremes(table: pd.DataFrame, what: str) -> str:
    """Where the mean is highest and lowest, of a table of `summarise` with row or line, panel and group."""
    done = table[table["n"] > 0]
    if done.empty:
        return "No run finished."
    high, low = (done.loc[which] for which in (done["mean"].idxmax(), done["mean"].idxmin()))
    return (
        f"{what[:1].upper()}{what[1:]} is highest for {_place(high, done)} ({high['mean']:.3f}) "
        f"and lowest for {_place(low, done)} ({low['mean']:.3f})."
    )


def changes(table: pd.DataFrame, what: str) -> str:
    """How many changes have intervals below and above zero, or are so where none has one; and the largest change."""
    done = table[table["n"] > 0].reset_index(drop=True)
    if done.empty:
        return "No pair of runs can be compared."
    largest = done.loc[done["mean"].abs().idxmax()]
    known = done["low"].notna().any()
    low, high = (done["low"], done["high"]) if known else (done["mean"], done["mean"])
    below, above = int((high < 0).sum()), int((low > 0).sum())
    where = (
        f"the intervals of {below} lie below zero and of {above} above"
        if known
        else f"each of a single run and so without an interval, {below} are below zero and {above} above"
    )
    largest = f"the largest is {largest['mean']:+.3f} ({_place(largest, done)})"
    return f"Of {len(done)} changes of {what}, {where}; {largest}."


def _place(row: pd.Series, table: pd.DataFrame) -> str:
    """The labels of a row that tell it from others."""
    labels = [name for name in ("row", "group", "panel") if name in table and table[name].nunique() > 1]
    return ", ".join(str(row[name]).replace("\n", " ") for name in labels if row[name]) or "the one arm"
