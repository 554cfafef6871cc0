"""Example pictures of source classes for figures."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vpstudy.data import glyphs

CHARACTERS = 11  # per line of a name
NO_EVIDENCE = "no evidence"


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
