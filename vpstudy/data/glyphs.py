"""Source data: characters rendered from the TrueType fonts that matplotlib ships.

Font, affine map, colours, blur and noise are random. Some page edges are visible: otherwise a backbone mistakes the
border of a prompt for a part of the character. Characters are drawn once; the random part runs in batches in torch,
fast enough for new pictures in every training step.
"""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from vpstudy.runtime import generator as seeded

# Left out, because they look alike at random size, place and slant:
# - Latin I (like l), and c p s u v w x z (like their capitals; o stays: smaller than O, rounder than 0);
# - Greek capitals drawn like Latin ones (Α Β Ε Ζ Η Ι Κ Μ Ν Ο Ρ Τ Υ Χ), and ο κ ν ρ υ χ ψ (like o K V P U X Ψ);
# - final ς (like ζ) and Θ (like a wide θ).
DIGITS = "0123456789"
LATIN = "ABCDEFGHJKLMNOPQRSTUVWXYZ" + "abdefghijklmnoqrty"
GREEK = "ΓΔΛΞΠΣΦΨΩ" + "αβγδεζηθιλμξπστφω"
CHARACTERS = DIGITS + LATIN + GREEK

# matplotlib's other fonts (Display, NonUni, Siz*, cm*) lack letters; LastResort draws only boxes.
# Held-out fonts never appear in training, but upright or differently weighted fonts of their families do.
FONTS = {
    "train": (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSans-Oblique",
        "DejaVuSans-BoldOblique",
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSerif",
        "DejaVuSerif-Bold",
        "DejaVuSerif-Italic",
        "STIXGeneral",
        "STIXGeneralBol",
        "STIXGeneralItalic",
    ),
    "held-out": ("DejaVuSansMono-BoldOblique", "DejaVuSerif-BoldItalic", "STIXGeneralBolIta"),
}

MASK_SIZE = 64  # pixels; twice the default picture, so that bilinear sampling does not alias
CAPITAL_HEIGHT = 0.6  # of the picture, in every font: at equal nominal size, fonts differ by a tenth
BLURS = (0.0, 1.5, 3.0)  # standard deviations in mask pixels; scanned targets are softer than rendered letters
ROTATION = 15.0  # degrees, ±
SCALE = 1.15  # largest factor up or down; 1.15² < 1.33, the ratio of O to o
SHEAR = 0.2
STRETCH = 1.15  # largest ratio of width to height or its inverse
SHIFT = 0.06  # of the picture's width, ±
PAGE = (0.65, 1.4)  # distance of each page edge from the centre; invisible beyond 1
CONTRAST = 0.3  # smallest grey difference between character and ground; white is 1
TINT = 0.12  # standard deviation of each colour channel around that grey
NOISE = 0.1  # largest standard deviation of the noise

class_names: list[str] = list(CHARACTERS)


@lru_cache(maxsize=2)
def glyph_masks(fonts: str) -> Tensor:
    """Masks, uint8 (characters, fonts, blurs, MASK_SIZE, MASK_SIZE), 255 inside. ValueError for unknown `fonts`."""
    if fonts not in FONTS:
        raise ValueError(f"fonts={fonts!r} is no group of fonts; choose one of {', '.join(FONTS)}")
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    drawn = [[_draw(character, folder / f"{font}.ttf") for font in FONTS[fonts]] for character in CHARACTERS]
    sharp = torch.from_numpy(np.array(drawn)).float().unsqueeze(2)
    blurred = [_blur(sharp.flatten(0, 1), sigma).view_as(sharp) for sigma in BLURS]
    return torch.cat(blurred, dim=2).round().to(torch.uint8)


def render(labels: Tensor, generator: torch.Generator, size: int = 32, fonts: str = "train") -> Tensor:
    """One random picture per label, int64 (N,) → uint8 (N, 3, size, size); bit-identical for a generator state."""
    masks = glyph_masks(fonts)
    n = len(labels)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    def choice(options: int) -> Tensor:
        return torch.randint(options, (n,), generator=generator)

    glyphs = masks[labels, choice(masks.shape[1]), choice(masks.shape[2])].unsqueeze(1).float().div_(255)
    angle, shear = torch.deg2rad(uniform(-ROTATION, ROTATION)), uniform(-SHEAR, SHEAR)
    zoom, stretch = SCALE ** uniform(-1, 1), STRETCH ** uniform(-0.5, 0.5)
    shift_x, shift_y = uniform(-2 * SHIFT, 2 * SHIFT), uniform(-2 * SHIFT, 2 * SHIFT)  # pictures span -1..1
    wide, high = 1 / (zoom * stretch), stretch / zoom  # inverse: the map goes from picture to mask
    cos, sin = angle.cos(), angle.sin()
    first, second = [wide * cos, wide * (shear * cos - sin), shift_x], [high * sin, high * (shear * sin + cos), shift_y]
    affine = torch.stack(first + second, 1).view(n, 2, 3)
    grid = functional.affine_grid(affine, [n, 1, size, size], align_corners=False)
    rows_in = _between(-uniform(*PAGE), uniform(*PAGE), size)
    columns_in = _between(-uniform(*PAGE), uniform(*PAGE), size)
    page = (rows_in[:, None, :, None] & columns_in[:, None, None, :]).float()
    inside = functional.grid_sample(glyphs, grid, align_corners=False).mul_(page)

    dark = uniform(0, 1 - CONTRAST)
    light = dark + CONTRAST + uniform(0, 1) * (1 - CONTRAST - dark)
    swap = choice(2).bool()
    greys = torch.stack([torch.where(swap, dark, light), torch.where(swap, light, dark), uniform(0, 1)], 1)
    colours = greys[:, :, None] + TINT * torch.randn(n, 3, 3, generator=generator)
    character, ground, surround = colours[..., None, None].unbind(1)
    pictures = torch.randn(n, 3, size, size, generator=generator) * uniform(0, NOISE).view(n, 1, 1, 1)
    pictures.add_(surround).addcmul_(ground - surround, page).addcmul_(character - ground, inside)
    return pictures.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def dataset(n: int, seed: int, size: int = 32, fonts: str = "train") -> tuple[Tensor, Tensor]:
    """Fixed balanced set, uint8 (n, 3, size, size) and int64 (n,); independent of training draws at equal seed."""
    if n < 1:
        raise ValueError(f"n={n} pictures asked; ask for at least 1")
    generator = seeded("glyph data set", seed)
    labels = torch.arange(n) % len(class_names)
    labels = labels[torch.randperm(n, generator=generator)]
    pictures = [render(part, generator, size, fonts) for part in labels.split(1024)]  # limits memory
    return torch.cat(pictures), labels


def example(class_index: int, size: int = 32) -> Tensor:
    """Clean picture of a class for figures: black on white, uint8 (3, size, size)."""
    mask = glyph_masks("train")[class_index, 0, 0].float()[None, None]
    grey = 255 - functional.interpolate(mask, size=(size, size), mode="bilinear", antialias=True)
    return grey.round().clamp(0, 255).to(torch.uint8)[0].expand(3, -1, -1).clone()


def _between(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Mask of the pixel centres in [-1, 1] between the bounds (N,): bool (N, size)."""
    centres = (torch.arange(size) + 0.5) * (2 / size) - 1
    return (centres > low[:, None]) & (centres < high[:, None])


def _draw(character: str, path: Path) -> np.ndarray:
    """Centred character, capitals CAPITAL_HEIGHT high: uint8 (MASK_SIZE, MASK_SIZE)."""
    left, top, right, bottom = ImageFont.truetype(path, 100).getbbox("H")
    font = ImageFont.truetype(path, 100 * CAPITAL_HEIGHT * MASK_SIZE / (bottom - top))
    if bytes(font.getmask(character)) == bytes(font.getmask("\U0010ffff")):  # the font's glyph for missing characters
        raise ValueError(f"font {path.name} has no character {character!r}; take either out of vpstudy/data/glyphs.py")
    image = Image.new("L", (4 * MASK_SIZE, 4 * MASK_SIZE))
    ImageDraw.Draw(image).text((MASK_SIZE, MASK_SIZE), character, fill=255, font=font)
    left, top, right, bottom = image.getbbox()  # of the ink; the font's box starts at the pen
    left, top = (left + right - MASK_SIZE) // 2, (top + bottom - MASK_SIZE) // 2
    return np.asarray(image.crop((left, top, left + MASK_SIZE, top + MASK_SIZE)))


def _blur(masks: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 1, H, W); sigma in pixels."""
    if sigma == 0:
        return masks
    reach = round(3 * sigma)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    masks = functional.conv2d(masks, kernel, padding=(0, reach))
    return functional.conv2d(masks, kernel.transpose(2, 3), padding=(reach, 0))
