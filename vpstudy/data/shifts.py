"""Domain shifts: the pictures change, the classes do not. All map uint8 (N, 3, H, W) to the same, deterministically.

NAME-SEVERITY are corruptions of Tiny ImageNet-C (Hendrycks and Dietterich, ICLR 2019), at three of its five severities.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from vpstudy.runtime import generator

DEVIATION = 1.0  # standard deviation of the blur, pixels at side 32
AMPLITUDE = 0.2  # standard deviation of the noise; white is 1
ANGLE = 30.0  # degrees, anticlockwise
SIDE = 64  # px, of the pictures of Tiny ImageNet-C
SEVERITIES = (1, 3, 5)


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


def gaussian_blur(pictures: Tensor, deviation: float) -> Tensor:
    """`deviation` in pixels at side 64. At side 32 severity 1, a quarter of a pixel, is lost in rounding."""
    sigma = deviation * pictures.shape[-1] / SIDE
    return _whole(ndimage.gaussian_filter(_floats(pictures), (0, 0, sigma, sigma), mode="nearest"))


def gaussian_noise(pictures: Tensor, deviation: float) -> Tensor:
    """Noise per pixel and channel at side 64, or of a smaller picture; the same for every call with this shape.

    A larger picture gets it enlarged, as one that has noise is enlarged. White is 1.
    """
    n, channels, side, _ = pictures.shape
    own = min(side, SIDE)
    drawn = torch.randn(n, channels, own, own, generator=generator("gaussian noise", 0))
    if side > own:
        drawn = functional.interpolate(drawn, size=(side, side), mode="bilinear")
    return _whole(_floats(pictures) + 255 * deviation * drawn.numpy())


def contrast(pictures: Tensor, factor: float) -> Tensor:
    """`factor` of the distance of each pixel from its channel's mean over the picture."""
    values = _floats(pictures)
    means = values.mean((2, 3), keepdims=True)
    return _whole(means + factor * (values - means))


def pixelate(pictures: Tensor, share: float) -> Tensor:
    """Made smaller to `share` of the side, and large again, both by means over boxes.

    That is done at side 64, or of a smaller picture; a larger one is made smaller first, and enlarged in the end.
    """
    side = pictures.shape[-1]
    own = min(side, SIDE)
    steps = [(own, Image.Resampling.BOX), (int(share * own), Image.Resampling.BOX), (own, Image.Resampling.BOX)]
    steps.append((side, Image.Resampling.BILINEAR))

    def one(picture: np.ndarray) -> np.ndarray:
        image = Image.fromarray(np.moveaxis(picture, 0, 2))
        for size, how in steps:
            image = image.resize((size, size), how)
        return np.moveaxis(np.asarray(image), 2, 0)

    # np.stack keeps the order in memory of what it stacks
    return torch.from_numpy(np.ascontiguousarray(np.stack([one(picture) for picture in pictures.numpy()])))


def _at(corruption: Callable[[Tensor, float], Tensor], strength: float) -> Callable[[Tensor], Tensor]:
    return lambda pictures: corruption(pictures, strength)


# At severities 1, 3 and 5, as published.
CORRUPTIONS = {
    gaussian_blur: (0.5, 1.0, 1.5),
    gaussian_noise: (0.04, 0.12, 0.18),
    contrast: (0.4, 0.2, 0.05),
    pixelate: (0.9, 0.7, 0.5),
}
SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": blur,
    "noise": noise,
    "inverted": inverted,
    "rotated": rotated,
} | {
    f"{of.__name__}-{severity}": _at(of, value)
    for of, values in CORRUPTIONS.items()
    for severity, value in zip(SEVERITIES, values, strict=True)
}


def _floats(pictures: Tensor) -> np.ndarray:
    return pictures.numpy().astype(np.float32)


def _whole(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures.round().clip(0, 255).astype(np.uint8))
