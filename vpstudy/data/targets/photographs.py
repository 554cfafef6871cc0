"""Target `photographs`: which of ten colour photographs holds a crop? Natural pictures that need no download.

They stand in for the source of a network from elsewhere: recovery and ranges of activations see its training crops, and
its test crops measure how often it agrees with dense.
"""

from functools import partial

import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from vpstudy.data.target import Target

# Shipped with scikit-image, which would download its other photographs, and with scikit-learn.
PHOTOGRAPHS = {
    "astronaut": skimage.data.astronaut,
    "cat": skimage.data.chelsea,
    "cup of coffee": skimage.data.coffee,
    "galaxies": skimage.data.hubble_deep_field,
    "tissue": skimage.data.immunohistochemistry,
    "retina": skimage.data.retina,
    "rocket": skimage.data.rocket,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "temple": partial(load_sample_image, "china.jpg"),
    "flower": partial(load_sample_image, "flower.jpg"),
}
SMALLEST = 96  # px; the side of a crop lies between this and that of the part that it is cut from
POOL, TEST = 60, 25  # crops from the left two thirds of a photograph, and from the right third
RETINA = slice(220, 1190)  # rows and columns of a square inside the disc, without the black around it


def load(size: int) -> Target:
    """Square crops at random places and of random sides: 60 from a photograph's left, 25 from its right for testing.

    No pixel is in both, but crops of a part overlap.
    """
    draw, pictures = np.random.default_rng(0), []
    for name, photograph in PHOTOGRAPHS.items():
        pixels = photograph()
        pixels = pixels[RETINA, RETINA] if name == "retina" else pixels
        cut = pixels.shape[1] * 2 // 3
        pictures += [_crop(pixels[:, :cut], size, draw) for _ in range(POOL)]
        pictures += [_crop(pixels[:, cut:], size, draw) for _ in range(TEST)]
    return Target(
        name="photographs",
        class_names=list(PHOTOGRAPHS),
        pictures=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
        labels=torch.arange(len(PHOTOGRAPHS)).repeat_interleave(POOL + TEST),
        test=np.flatnonzero(np.arange(len(pictures)) % (POOL + TEST) >= POOL),
        credit="photographs that scikit-image (skimage.data names each one's source) and scikit-learn (CC BY) ship",
    )


def _crop(part: np.ndarray, size: int, draw: np.random.Generator) -> np.ndarray:
    side = draw.integers(SMALLEST, min(part.shape[:2]) + 1)
    top, left = (draw.integers(0, length - side + 1) for length in part.shape[:2])
    crop = Image.fromarray(part[top : top + side, left : left + side])
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))
