"""Captions of rendered glyphs: "a picture of a bold italic serif small greek alpha"."""

import unicodedata

import torch
from torch import Tensor

from vpstudy.data import glyphs

PREFIX = "a picture of a"  # four tokens; initial values of context vectors


def name(character: str) -> str:
    """Shortened Unicode name: "digit three", "capital letter g", "small greek pi"."""
    name = unicodedata.name(character).lower().removeprefix("latin ").replace("lamda", "lambda")
    if name.startswith("greek"):
        _, size, _, letter = name.split()
        return f"{size} greek {letter}"
    return name


def style(font: str) -> str:
    """Font in words: "bold italic serif"."""
    words = ["bold"] * ("Bol" in font) + ["italic"] * ("Ita" in font or "Obl" in font)
    return " ".join([*words, "mono" if "Mono" in font else "plain" if "Sans" in font else "serif"])


NAMES = tuple(name(character) for character in glyphs.CHARACTERS)
STYLES = tuple(style(font) for font in glyphs.FONTS["train"])
TEMPLATES = (f"{PREFIX} {{}}.", *(f"{PREFIX} {words} {{}}." for words in dict.fromkeys(STYLES)))

# For photographs of things in place of glyphs, after the first template of CLIP (Radford et al., ICML 2021).
OF_THINGS = (f"{PREFIX} {{}}.", "a photo of a {}.", "a close-up of a {}.", "a picture of the {}.")


def batch(n: int, draw: torch.Generator, size: int) -> tuple[Tensor, list[str], Tensor]:
    """Random glyphs uint8 (n, 3, size, size), captions, and classes (n,); about half the captions name the style."""
    labels = torch.randint(len(NAMES), (n,), generator=draw)
    styled = torch.rand(n, generator=draw) < 0.5
    fonts = _fonts_that_follow(draw, n)
    pictures = glyphs.render(labels, draw, size)
    captions = [
        f"{PREFIX} {STYLES[font]} {NAMES[label]}." if with_style else f"{PREFIX} {NAMES[label]}."
        for label, font, with_style in zip(labels.tolist(), fonts.tolist(), styled.tolist(), strict=True)
    ]
    return pictures, captions, labels


def _fonts_that_follow(draw: torch.Generator, n: int) -> Tensor:
    """The fonts that `glyphs.render` draws next: its first draw, repeated on a copy of the generator."""
    copy = torch.Generator()
    copy.set_state(draw.get_state())
    return torch.randint(len(glyphs.FONTS["train"]), (n,), generator=copy)
