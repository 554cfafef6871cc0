"""Grids of pictures: prompts, label mappings, examples; and pictures of source classes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from studies.figures import style
from vpstudy.data import glyphs

Picture = Any  # (3, H, W), uint8 or in [0, 1], NumPy or torch
Key = tuple[Any, Any]  # row and column; words label them, anything else has no label
LINE = 0.14  # height of a line of text, inches
NO_EVIDENCE = "no evidence"


def grid(pictures: Sequence, names: Sequence[str], title: str, note: str = "", columns: int = 12) -> Figure:
    """Pictures, each above its name."""
    keys = [divmod(k, columns) for k in range(len(pictures))]
    shown, captions = (dict(zip(keys, each, strict=True)) for each in (pictures, names))
    return table(shown, title, note, captions=captions, tallest=1.1)


def table(
    pictures: Mapping[Key, Picture | str],
    title: str,
    note: str = "",
    *,
    captions: Mapping[Key, str] | None = None,
    marked: Collection[Key] = (),
    tallest: float = 1.8,
) -> Figure:
    """Pictures by row label and column title; words in place of a picture say why there is none.

    `captions` stand below single pictures, on at most three lines, bold and coloured where `marked`. A picture is at
    most `tallest` inches.
    """
    rows, columns = (list(dict.fromkeys(key[k] for key in pictures)) for k in (0, 1))
    labels = [style.wrapped(row, 1.1) if isinstance(row, str) else "" for row in rows]
    left = max(style.LETTER * max(map(len, label.split("\n"))) for label in labels) + 0.2
    across = (style.WIDTH - left) / len(columns)  # inches from one picture to the next
    titles = [style.wrapped(column, across) if isinstance(column, str) else "" for column in columns]
    captions = {
        key: style.wrapped(style.printable(text, "?"), across, lines=3) for key, text in (captions or {}).items()
    }
    side = min(0.92 * across, tallest)
    down = side + 0.08 + LINE * max((text.count("\n") + 1 for text in captions.values()), default=0)
    most = max(title.count("\n") for title in titles) + 1 if any(titles) else 0
    figure, ((axis,),) = style.new_figure(1, 1, 0.65 + LINE * most + down * len(rows))
    for (row, column), shown in pictures.items():
        x, y = across * columns.index(column) + (across - side) / 2, down * rows.index(row)
        if isinstance(shown, str):
            look = {"color": style.ALARM, "weight": "bold"} if (row, column) in marked else {}
            words = style.wrapped(style.printable(shown, "?"), across, lines=4)
            axis.text(x + side / 2, y + side / 2, words, ha="center", va="center", linespacing=1.1, **look)
        else:
            axis.imshow(np.moveaxis(np.asarray(shown), 0, 2), extent=(x, x + side, y + side, y), interpolation="none")
        if text := captions.get((row, column)):
            look = {"color": style.ALARM, "weight": "bold"} if (row, column) in marked else {}
            axis.text(x + side / 2, y + side + 0.02, text, ha="center", va="top", linespacing=1.1, **look)
    axis.set(xlim=(0, across * len(columns)), ylim=(down * len(rows), 0), aspect="equal")
    axis.set_xticks([across * (k + 0.5) for k in range(len(columns))], titles)
    axis.set_yticks([down * k + side / 2 for k in range(len(rows))], labels)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    style.caption(figure, title, note)
    return figure


def of_source(name: str, size: int) -> tuple[Tensor | str, str]:
    """Source class as a clean glyph, black on white, uint8 (3, size, size), and its name; or as its name alone."""
    known = name in glyphs.class_names
    return (glyphs.example(glyphs.class_names.index(name), size), name) if known else (name, "")


def of_mapping(
    source_names: Sequence[str], mapping: Sequence[int], evidence: Sequence[float], size: int
) -> tuple[list[Tensor | str], list[str]]:
    """What `of_source` gives for the source class of each target class; those without evidence say so."""
    named = [source_names[source] if count else NO_EVIDENCE for source, count in zip(mapping, evidence, strict=True)]
    pictures, names = zip(*(of_source(name, size) for name in named), strict=True)
    return list(pictures), list(names)
