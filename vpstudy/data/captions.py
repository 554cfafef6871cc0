"""Captions of rendered glyphs: "a picture of a bold italic serif small greek alpha"."""

import torch
from torch import Tensor

from vpstudy.data import glyphs

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "ζ": "zeta",
    "η": "eta",
    "θ": "theta",
    "ι": "iota",
    "λ": "lambda",
    "μ": "mu",
    "ξ": "xi",
    "π": "pi",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "ψ": "psi",
    "ω": "omega",
}
PREFIX = "a picture of a"  # four tokens, from which context vectors start


def name(character: str) -> str:
    """What a character is called: "digit three", "capital letter g", "small greek pi"."""
    if character in glyphs.DIGITS:
        return f"digit {DIGITS[int(character)]}"
    size = "capital" if character.isupper() else "small"
    small = character.lower()
    return f"{size} greek {GREEK[small]}" if small in GREEK else f"{size} letter {small}"


def style(font: str) -> str:
    """What a font looks like: "bold italic serif"."""
    words = ["bold"] * ("Bol" in font) + ["italic"] * ("Ita" in font or "Obl" in font)
    return " ".join([*words, "mono" if "Mono" in font else "plain" if "Sans" in font else "serif"])


NAMES = tuple(name(character) for character in glyphs.CHARACTERS)
STYLES = tuple(style(font) for font in glyphs.FONTS["train"])
TEMPLATES = (f"{PREFIX} {{}}.", *(f"{PREFIX} {words} {{}}." for words in dict.fromkeys(STYLES)))


def batch(n: int, draw: torch.Generator, size: int) -> tuple[Tensor, list[str], Tensor]:
    """Random glyphs uint8 (n, 3, size, size), a caption for each, and their classes (n,); half of them tell the style.

    `draw` alone decides: the same state gives the same pictures and captions.
    """
    labels = torch.randint(len(NAMES), (n,), generator=draw)
    told = torch.rand(n, generator=draw) < 0.5
    fonts = _fonts_that_follow(draw, n)
    pictures = glyphs.render(labels, draw, size)
    captions = [
        f"{PREFIX} {STYLES[font]} {NAMES[label]}." if tell else f"{PREFIX} {NAMES[label]}."
        for label, font, tell in zip(labels.tolist(), fonts.tolist(), told.tolist(), strict=True)
    ]
    return pictures, captions, labels


def _fonts_that_follow(draw: torch.Generator, n: int) -> Tensor:
    """The fonts that `glyphs.render` will draw next: its first draw, replayed on a copy of the generator."""
    copy = torch.Generator()
    copy.set_state(draw.get_state())
    return torch.randint(len(glyphs.FONTS["train"]), (n,), generator=copy)
