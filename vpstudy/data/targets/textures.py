"""Target `textures`: which of twelve photographs contains a patch? Far from glyphs."""

import numpy as np
import skimage.data
import torch
from skimage.color import rgb2gray
from skimage.transform import rescale
from skimage.util import img_as_float

from vpstudy.data.target import Target, from_grey

# Shipped with scikit-image; it would download its other photographs.
PHOTOGRAPHS = (
    "brick",
    "grass",
    "gravel",
    "coins",
    "cell",
    "immunohistochemistry",
    "hubble_deep_field",
    "moon",
    "page",
    "text",
    "retina",
    "camera",
)
LONGEST_SIDE = 512  # px; larger photographs are shrunk, or a patch of the retina would show no vessel
RETINA = slice(220, 1190)  # rows and columns of a square inside the disc, to exclude the black around it
PATCH = 48  # pixels
POOL_GRID = (10, 8)  # rows and columns of patches, left half
TEST_GRID = (10, 5)  # right half


def load(size: int) -> Target:
    """80 patches from each photograph's left half, and 50 from its right half for testing.

    Grey, so that colour does not reveal the class. Patches within a half overlap (the smallest photograph has
    172 x 448 pixels), so validation accuracy is optimistic; test pixels are disjoint from training pixels.
    """
    pictures, labels, in_test = [], [], []
    for label, name in enumerate(PHOTOGRAPHS):
        photograph = getattr(skimage.data, name)()
        if name == "retina":
            photograph = photograph[RETINA, RETINA]
        middle = photograph.shape[1] // 2
        shrink = min(1, LONGEST_SIDE / max(photograph.shape))
        # Shrink each half separately: antialiasing would mix pixels across the cut.
        for half, grid, is_test in (
            (photograph[:, :middle], POOL_GRID, False),
            (photograph[:, middle:], TEST_GRID, True),
        ):
            patches = cut(_grey(half, shrink), *grid)
            pictures.append(patches)
            labels += [label] * len(patches)
            in_test += [is_test] * len(patches)
    return Target(
        name="textures",
        class_names=list(PHOTOGRAPHS),
        pictures=from_grey(np.concatenate(pictures), size),
        labels=torch.tensor(labels),
        test=np.flatnonzero(in_test),
        credit="scikit-image's bundled photographs (skimage.data names each one's source):"
        " public domain or CC0, as far as known",
    )


def cut(half: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Evenly spaced patches of (H, W), from edge to edge: (rows * columns, PATCH, PATCH)."""
    tops = np.linspace(0, half.shape[0] - PATCH, rows).round().astype(int)
    lefts = np.linspace(0, half.shape[1] - PATCH, columns).round().astype(int)
    return np.stack([half[y : y + PATCH, x : x + PATCH] for y in tops for x in lefts])


def _grey(photograph: np.ndarray, shrink: float) -> np.ndarray:
    grey = rgb2gray(photograph) if photograph.ndim == 3 else img_as_float(photograph)
    return rescale(grey, shrink, anti_aliasing=True) if shrink < 1 else grey
