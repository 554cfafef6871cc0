"""Target `textures`: which of twelve photographs does a patch come from? Far from glyphs, twelve classes."""

import numpy as np
import skimage.data
import torch
from skimage.color import rgb2gray
from skimage.transform import rescale
from skimage.util import img_as_float

from vpstudy.data.target import Target, from_grey

# Photographs that ship inside scikit-image itself; it would download the others.
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
LONGEST_SIDE = 512  # px, to which larger photographs are shrunk: else a patch of the retina would show no vessel
RETINA = slice(220, 1190)  # rows and columns of the square inside its disc, which black surrounds
PATCH = 48  # pixels
POOL_GRID = (10, 8)  # rows and columns of patches in the left half
TEST_GRID = (10, 5)  # and in the right half


def load(size: int) -> Target:
    """80 patches from each photograph's left half, and 50 from its right half as the test set.

    Patches are grey, so that colour does not give a class away; contrast and brightness stay as they are.
    Patches of one half overlap (the smallest photograph has 172 x 448 pixels), so validation, drawn from the
    left half as training is, flatters; no pixel of the test set is seen before the test.
    """
    pictures, labels, in_test = [], [], []
    for label, name in enumerate(PHOTOGRAPHS):
        photograph = getattr(skimage.data, name)()
        if name == "retina":
            photograph = photograph[RETINA, RETINA]
        middle = photograph.shape[1] // 2
        shrink = min(1, LONGEST_SIDE / max(photograph.shape))
        # Each half is shrunk by itself: antialiasing would mix their pixels along the cut.
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
    """`rows` x `columns` evenly spaced patches of (H, W), from edge to edge: (N, PATCH, PATCH)."""
    tops = np.linspace(0, half.shape[0] - PATCH, rows).round().astype(int)
    lefts = np.linspace(0, half.shape[1] - PATCH, columns).round().astype(int)
    return np.stack([half[y : y + PATCH, x : x + PATCH] for y in tops for x in lefts])


def _grey(photograph: np.ndarray, shrink: float) -> np.ndarray:
    grey = rgb2gray(photograph) if photograph.ndim == 3 else img_as_float(photograph)
    return rescale(grey, shrink, anti_aliasing=True) if shrink < 1 else grey
