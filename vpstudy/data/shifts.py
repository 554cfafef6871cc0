"""Domain shifts: the pictures change, the classes do not. All map uint8 (N, 3, H, W) to the same, deterministically."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vpstudy.runtime import generator

DEVIATION = 1.0  # standard deviation of the blur, pixels at side 32
AMPLITUDE = 0.2  # standard deviation of the noise; white is 1
ANGLE = 30.0  # degrees, anticlockwise


def blur(pictures: Tensor) -> Tensor:
    sigma = DEVIATION * pictures.shape[-1] / 32
    return _whole(ndimage.gaussian_filter(_floats(pictures), (0, 0, sigma, sigma), mode="nearest", truncate=3))


def noise(pictures: Tensor) -> Tensor:
    """Gaussian noise per pixel and channel, the same for every call with this shape."""
    drawn = torch.randn(pictures.shape, generator=generator("shifted by noise", 0))
    return _whole(_floats(pictures) + 255 * AMPLITUDE * drawn.numpy())


def inverted(pictures: Tensor) -> Tensor:
    return 255 - pictures


def rotated(pictures: Tensor) -> Tensor:
    return _whole(ndimage.rotate(_floats(pictures), ANGLE, axes=(3, 2), reshape=False, order=1, mode="nearest"))


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {"blur": blur, "noise": noise, "inverted": inverted, "rotated": rotated}


def _floats(pictures: Tensor) -> np.ndarray:
    return pictures.numpy().astype(np.float32)


def _whole(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures.round().clip(0, 255).astype(np.uint8))
