"""Heat maps with a number in each cell, one below the other, in one scale of colours."""

import math
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from studies.figures import style

ROW = 0.24  # height of a cell, inches
LINE = 0.15  # height of a line of text, inches
LEFT = 1.3  # width of the labels, inches


def draw(
    maps: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    limits: tuple[float, float],
    colours: str,
    label: str,
    title: str,
    note: str,
    *,
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """Draw by title the values and texts of cells, two frames with the same rows and columns; `label` is the unit's.

    Where columns are too narrow for the longest text, cells have colours alone; where for a line, some have no label.
    """
    first = next(iter(maps.values()))[0]
    longest = max(len(text) for _, texts in maps.values() for text in texts.to_numpy().ravel())
    width = (style.WIDTH - LEFT) / len(first.columns)  # of a cell
    fits = longest * style.LETTER < width
    longest_column = max(len(line) for name in first.columns for line in str(name).split("\n"))
    turned = longest_column * style.LETTER > width
    named = max(1, math.ceil(LINE / width)) if turned else 1  # each so many columns
    height = 1.3 + sum(0.28 + ROW * len(values) for values, _ in maps.values())
    height += style.LETTER * longest_column if turned else 0.3
    figure, axes = style.new_figure(len(maps), 1, height, sharex=True)
    for (name, (values, texts)), axis in zip(maps.items(), axes[:, 0], strict=True):
        look = {"cmap": colours, "vmin": limits[0], "vmax": limits[1], "cbar": False, "linewidths": 0.8, "ax": axis}
        look |= {"annot": texts if fits else None, "fmt": "", "annot_kws": {"size": 8}}
        sns.heatmap(values, xticklabels=named, yticklabels=True, **look)
        for row, column in zip(*values.isna().to_numpy().nonzero(), strict=True) if fits else ():
            axis.text(column + 0.5, row + 0.5, texts.iloc[row, column], ha="center", va="center", size=8)
        axis.set(facecolor="0.9", xlabel="", ylabel="")
        axis.grid(False)
        axis.tick_params(axis="y", rotation=0)
        axis.tick_params(axis="x", rotation=90 if turned else 0)
        axis.set_title(name, weight="bold")
    place = {"ax": list(axes.flat), "location": "bottom", "shrink": 0.5, "aspect": 40}
    bar = figure.colorbar(ScalarMappable(Normalize(*limits), colours), **place)
    bar.set_label(label)
    bar.outline.set_visible(False)
    if ticks:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
    style.caption(figure, title, note)
    return figure
