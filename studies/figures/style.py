"""House style of figures: theme, sizes, methods, budgets, pictures, and saving.

A method is a colour; a budget is its shade, line and marker. Colours are Okabe and Ito's, safe for the colour-blind; no
meaning depends on colour alone.
"""

import io
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from vpstudy import atomic

WIDTH = 18 / 2.54  # inches; at this printed width, no text is below 8 points
GREY = "#666666"
ALARM = "#D55E00"  # errors and changes

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the same on every machine; has Greek
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "svg.hashsalt": "vpstudy",  # otherwise ids in SVG are random
}


@dataclass(frozen=True)
class Method:
    label: str
    colour: str


# In the order of CONTROLS: blue and yellow, then violets for mappings, then earth tones for prompts.
CONTROL_COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#B35C8C", "#E7298A", "#8C6BB1", "#6A51A3", "#3F007D", "#F0B27A",
                   "#A6761D", "#7F5F00", "#66A61E", "#4D7C0F", "#BF812D", "#35978F")  # fmt: skip


@cache
def _methods() -> dict[str, Method]:
    from vpstudy.training.controls import CONTROLS  # no dependency: of every cell on every control

    return {
        "mapping_only": Method("mapping only", "#000000"),
        "visual_prompting": Method("visual prompt", "#D55E00"),
        "linear_probe": Method("linear probe", "#0072B2"),
        "fine_tuning": Method("fine-tuning", "#009E73"),
        **{
            name: Method(control.label, colour)
            for (name, control), colour in zip(CONTROLS.items(), cycle(CONTROL_COLOURS), strict=False)
        },
        "upstream": Method("source task", "#555555"),
    }


@dataclass(frozen=True)
class Line:
    """Look of a budget, in a shade of its method's colour."""

    colour: str
    dashes: Any
    marker: str


def method(name: str) -> Method:
    """Raises ValueError for a method without a look."""
    if name not in _methods():
        raise ValueError(f"method {name!r} has no look; known: {', '.join(_methods())}; add it in figures/style.py")
    return _methods()[name]


def methods(names: Iterable[str]) -> list[str]:
    """Distinct names, in the order of figures."""
    present = {name for name in names if method(name)}
    return [name for name in _methods() if name in present]


def budgets(values: Iterable[str | None]) -> list[str | None]:
    """Distinct budgets, smallest first; "all" and None (no budget) are last."""
    return sorted(set(values), key=lambda budget: math.inf if budget in ("all", None) else int(budget))


def budget_label(budget: str | None) -> str:
    return f"{budget} per class" if budget and budget != "all" else budget or ""


def line(budget: str, colour: str = GREY) -> Line:
    """Look of a budget: darker and more solid with more pictures."""
    if budget == "all":
        return Line(colour, "-", "o")
    white = 0.55 - 0.175 * min(math.log10(int(budget)), 2)  # share of white: 0.2 from 100 pictures on
    lighter = to_hex((1 - white) * np.array(to_rgb(colour)) + white)
    if int(budget) < 10:
        return Line(lighter, (0, (1, 1.2)), "v")
    return Line(lighter, (0, (4, 1.5)), "s")


def apply() -> None:
    """Set the theme for all later figures."""
    sns.set_theme(context="paper", style="whitegrid", palette="colorblind", rc=RC)


def new_figure(rows: int, columns: int, height: float, **subplots) -> tuple[Figure, np.ndarray]:
    """A figure of the printed width and `height` inches, and its axes (rows, columns)."""
    apply()
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **subplots)
    plt.close(figure)  # a notebook then shows it once, where it is returned
    return figure, axes


def caption(figure: Figure, title: str, note: str = "") -> None:
    """Put a title and, below it, a smaller note above the axes. Call it last."""
    height = figure.get_figheight()
    note = textwrap.fill(note, 118)
    figure.text(0.008, 1 - 0.06 / height, title, size=10, weight="bold", va="top")
    lines = note.count("\n") + 1 if note else 0
    if note:
        figure.text(0.008, 1 - 0.27 / height, note, color="0.3", va="top", linespacing=1.25)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - (0.32 + 0.15 * lines) / height))


def show(axis: Axes, picture) -> None:
    """Show a picture (3, H, W), uint8 or float in [0, 1], NumPy or torch, without interpolation."""
    axis.set_axis_on()
    bare(axis)
    axis.imshow(np.moveaxis(np.asarray(picture), 0, 2), interpolation="none")


def bare(axis: Axes) -> None:
    """Remove ticks, grid and frame."""
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)


def save(figure: Figure, name: str, folder: Path, vectors: Path | None = None) -> None:
    """Write `<folder>/<name>.png` and, if given, `<vectors>/<name>.svg` and `.pdf`; equal figures give equal bytes."""
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # fixes the layout for all files and repetitions
    for place, suffix, unset in (
        (folder, "png", "Software"),
        (vectors, "svg", "Date"),
        (vectors, "pdf", "CreationDate"),
    ):
        if place:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, metadata={unset: None})
            atomic.write_bytes(place / f"{name}.{suffix}", buffer.getvalue())
