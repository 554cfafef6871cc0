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
from matplotlib import font_manager
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from vpstudy import atomic

WIDTH = 18 / 2.54  # inches; at this printed width, no text is below 8 points
LETTER = 0.085  # width of a letter, inches
GREY = "#666666"
ALARM = "#D55E00"  # errors and changes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A5C00", "#3F007D", "#35978F", "#E7298A",
           "#222222", "#8C6BB1")  # fmt: skip
MARKERS = "os^DvPX*"
FONT = "DejaVu Sans"  # ships with matplotlib, so the same on every machine; Latin, Greek, Cyrillic, Arabic
OTHER_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS")

RC: dict[str, Any] = {
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


def look(k: int) -> dict[str, Any]:
    """Colour and marker, as arguments of matplotlib, of the k-th group of a figure."""
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "ms": 4}


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


def line(budget: str, colour: str = GREY) -> dict[str, Any]:
    """Look of a budget in a shade of its method's colour: darker and more solid with more pictures."""
    if budget in ("all", None):
        return {"color": colour, "ls": "-", "marker": "o"}
    white = 0.55 - 0.175 * min(math.log10(max(int(budget), 1)), 2)  # share of white: 0.2 from 100 pictures on
    lighter = to_hex((1 - white) * np.array(to_rgb(colour)) + white)
    few = int(budget) < 10
    return {"color": lighter, "ls": (0, (1, 1.2)) if few else (0, (4, 1.5)), "marker": "v" if few else "s"}


@cache
def fonts() -> tuple[str, ...]:
    """The house font, then those fonts of other scripts that this machine has."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return FONT, *(name for name in OTHER_FONTS if name in installed)


@cache
def _characters() -> set[int]:
    return {code for name in fonts() for code in font_manager.get_font(font_manager.findfont(name)).get_charmap()}


def printable(name: str, alias: str) -> str:
    """The name, or `alias` if no font of this machine has all of its characters."""
    return name if {ord(character) for character in name} <= _characters() else alias


def apply() -> None:
    """Set the theme for all later figures."""
    sns.set_theme(context="paper", style="whitegrid", palette="colorblind", rc=RC | {"font.family": list(fonts())})


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


def wrapped(words: str, inches: float, lines: int | None = None) -> str:
    """Words in lines that are at most so wide; of more than `lines`, the first ones with an ellipsis."""
    return textwrap.fill(words, max(4, int(inches / LETTER)), max_lines=lines, placeholder="…")


def extend_title(figure: Figure, words: str) -> None:
    """Add words to the title that `caption` has put."""
    figure.texts[0].set_text(figure.texts[0].get_text() + words)


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
