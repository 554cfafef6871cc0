"""Grids of pictures with names, and pictures of source classes."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from studies.figures import style
from vpstudy.data import glyphs

LETTERS = 14  # in an inch of a name in a figure
TALLEST = 1.1  # inches, of a picture
CHARACTERS = 11  # per line of a name in a picture
NO_EVIDENCE = "no evidence"


def grid(pictures: Sequence, names: Sequence[str], title: str, note: str = "", columns: int = 12) -> Figure:
    """Pictures (3, H, W) in [0, 1] or uint8, each under its name, on at most three lines."""
    rows, width = math.ceil(len(pictures) / columns), style.WIDTH / columns
    wrapped = [textwrap.wrap(name, int(LETTERS * width), max_lines=3, placeholder="…") for name in names]
    lines = max(map(len, wrapped), default=0)
    figure, axes = style.new_figure(rows, columns, 0.4 + rows * (min(width, TALLEST) + 0.14 * lines))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, name in zip(axes.flat, pictures, wrapped, strict=False):
        style.show(axis, picture)
        axis.set_title("\n".join(name), pad=2)
    style.caption(figure, title, note)
    return figure


def of_source(name: str, size: int) -> Tensor:
    """Source class in black on white, uint8 (3, size, size): a clean glyph, or else its name as text."""
    if name in glyphs.class_names:
        return glyphs.example(glyphs.class_names.index(name), size)
    lines = textwrap.wrap(name, CHARACTERS, max_lines=4, placeholder="…")
    picture = Image.new("L", (size, size), 255)
    font = ImageFont.load_default(size / (0.62 * CHARACTERS))
    ImageDraw.Draw(picture).multiline_text((size / 2, size / 2), "\n".join(lines), 0, font, "mm", align="center")
    return torch.from_numpy(np.asarray(picture).copy()).expand(3, -1, -1).clone()


def of_mapping(
    source_names: Sequence[str], mapping: Sequence[int], evidence: Sequence[float], size: int
) -> tuple[list[Tensor], list[str]]:
    """Pictures and names of the source class of each target class; those without evidence say so."""
    named = [source_names[source] if count else NO_EVIDENCE for source, count in zip(mapping, evidence, strict=True)]
    return [of_source(name, size) for name in named], ["none" if name == NO_EVIDENCE else name for name in named]
