"""The source data: characters rendered from the TrueType fonts that matplotlib ships.

A picture is one character in a random font, placed by a random affine map on a page, in random colours (light on dark
as often as dark on light), more or less sharp, with noise. Some edges of the page are visible, with another colour
beyond them: without that, a backbone takes the border that a prompt draws around every picture for a part of the
character. Every character and font is drawn once, at twice the usual size; the random part runs in batches in torch,
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

# Characters that no reader could tell apart once size, place and slant are random are left out:
# - Latin I looks like l, and c p s u v w x z like their capitals (o stays: smaller than O, rounder than 0);
# - Greek capitals drawn like Latin ones (Α Β Ε Ζ Η Ι Κ Μ Ν Ο Ρ Τ Υ Χ), and ο κ ν ρ υ χ ψ, like o K V P U X Ψ;
# - ς, the form of σ at the end of a word, looks like ζ, and Θ like a wide θ.
DIGITS = "0123456789"
LATIN = "ABCDEFGHJKLMNOPQRSTUVWXYZ" + "abdefghijklmnoqrty"
GREEK = "ΓΔΛΞΠΣΦΨΩ" + "αβγδεζηθιλμξπστφω"
CHARACTERS = DIGITS + LATIN + GREEK

# Other fonts that matplotlib ships (Display, NonUni, Siz*, cm*) lack letters; LastResort draws boxes only.
# The held-out ones never appear in training; each has upright or differently weighted relatives that do.
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

MASK_SIZE = 64  # pixels; twice the usual picture, so that bilinear sampling averages and does not alias
CAPITAL_HEIGHT = 0.6  # of the picture, the same in every font: fonts of one nominal size differ by a tenth
BLURS = (0.0, 1.5, 3.0)  # standard deviations in mask pixels: scanned targets are softer than rendered letters
ROTATION = 15.0  # degrees, either way
SCALE = 1.15  # largest factor up or down; o and O differ by 1.33, more than up and down together
SHEAR = 0.2
STRETCH = 1.15  # largest ratio of width to height, either way
SHIFT = 0.06  # of the picture's width, either way
PAGE = (0.65, 1.4)  # distance of each edge of the page from the centre; beyond 1 it is out of sight
CONTRAST = 0.3  # least difference of grey between character and ground, black to white being 1
TINT = 0.12  # standard deviation of each colour channel around that grey
NOISE = 0.1  # largest standard deviation of the noise

class_names: list[str] = list(CHARACTERS)


@lru_cache(maxsize=2)
def glyph_masks(fonts: str) -> Tensor:
    """Every character in every font of a group ("train" or "held-out"), drawn once and kept in memory.

    Returns a uint8 tensor (characters, fonts, blurs, MASK_SIZE, MASK_SIZE), 255 inside the character.
    Raises ValueError for an unknown group, and where a font has no drawing for a character.
    """
    if fonts not in FONTS:
        raise ValueError(f"fonts={fonts!r} is no group of fonts; choose one of {', '.join(FONTS)}")
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    drawn = [[_draw(character, folder / f"{font}.ttf") for font in FONTS[fonts]] for character in CHARACTERS]
    sharp = torch.from_numpy(np.array(drawn)).float().unsqueeze(2)
    blurred = [_blur(sharp.flatten(0, 1), sigma).view_as(sharp) for sigma in BLURS]
    return torch.cat(blurred, dim=2).round().to(torch.uint8)


def render(labels: Tensor, generator: torch.Generator, size: int = 32, fonts: str = "train") -> Tensor:
    """One random picture for each label: int64 (N,) -> uint8 (N, 3, size, size).

    `generator` alone decides what is drawn: the same state gives the same pictures, bit for bit.
    """
    masks = glyph_masks(fonts)
    n = len(labels)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    def choice(options: int) -> Tensor:
        return torch.randint(options, (n,), generator=generator)

    glyphs = masks[labels, choice(masks.shape[1]), choice(masks.shape[2])].unsqueeze(1).float().div_(255)
    angle, shear = torch.deg2rad(uniform(-ROTATION, ROTATION)), uniform(-SHEAR, SHEAR)
    zoom, stretch = SCALE ** uniform(-1, 1), STRETCH ** uniform(-0.5, 0.5)
    shift_x, shift_y = uniform(-2 * SHIFT, 2 * SHIFT), uniform(-2 * SHIFT, 2 * SHIFT)  # a picture spans -1..1
    wide, high = 1 / (zoom * stretch), stretch / zoom  # the map leads from the picture back to the mask
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
    """A fixed, balanced set: pictures uint8 (n, 3, size, size) and labels int64 (n,), in random order.

    The draws share nothing with those of a generator that a training run seeds with the same number.
    """
    if n < 1:
        raise ValueError(f"n={n} pictures asked; ask for at least 1")
    generator = seeded("glyph data set", seed)
    labels = torch.arange(n) % len(class_names)
    labels = labels[torch.randperm(n, generator=generator)]
    pictures = [render(part, generator, size, fonts) for part in labels.split(1024)]  # bounds the memory
    return torch.cat(pictures), labels


def example(class_index: int, size: int = 32) -> Tensor:
    """A clean picture of one class for figures: black on white, uint8 (3, size, size)."""
    mask = glyph_masks("train")[class_index, 0, 0].float()[None, None]
    grey = 255 - functional.interpolate(mask, size=(size, size), mode="bilinear", antialias=True)
    return grey.round().clamp(0, 255).to(torch.uint8)[0].expand(3, -1, -1).clone()


def _between(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Which of `size` pixels, from -1 to 1, lie between the bounds (N,): bool (N, size)."""
    centres = (torch.arange(size) + 0.5) * (2 / size) - 1
    return (centres > low[:, None]) & (centres < high[:, None])


def _draw(character: str, path: Path) -> np.ndarray:
    """One character, centred, capitals CAPITAL_HEIGHT high: uint8 (MASK_SIZE, MASK_SIZE)."""
    left, top, right, bottom = ImageFont.truetype(path, 100).getbbox("H")
    font = ImageFont.truetype(path, 100 * CAPITAL_HEIGHT * MASK_SIZE / (bottom - top))
    if bytes(font.getmask(character)) == bytes(font.getmask("\U0010ffff")):  # the drawing for "not in this font"
        raise ValueError(f"font {path.name} has no character {character!r}; take either out of vpstudy/data/glyphs.py")
    image = Image.new("L", (4 * MASK_SIZE, 4 * MASK_SIZE))
    ImageDraw.Draw(image).text((MASK_SIZE, MASK_SIZE), character, fill=255, font=font)
    left, top, right, bottom = image.getbbox()  # of the ink; the font's own box starts at the pen
    left, top = (left + right - MASK_SIZE) // 2, (top + bottom - MASK_SIZE) // 2
    return np.asarray(image.crop((left, top, left + MASK_SIZE, top + MASK_SIZE)))


def _blur(masks: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 1, H, W) with a standard deviation in pixels; 0 leaves the masks as they are."""
    if sigma == 0:
        return masks
    reach = round(3 * sigma)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    masks = functional.conv2d(masks, kernel, padding=(0, reach))
    return functional.conv2d(masks, kernel.transpose(2, 3), padding=(reach, 0))
