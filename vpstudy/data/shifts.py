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
BLOCK = 500  # pictures that are changed at once: floats take four times the memory


def blur(pictures: Tensor) -> Tensor:
    sigma = DEVIATION * pictures.shape[-1] / 32
    how = {"sigma": (0, 0, sigma, sigma), "mode": "nearest", "truncate": 3}
    return _changed(lambda values: ndimage.gaussian_filter(values, **how), pictures)


def noise(pictures: Tensor) -> Tensor:
    """Gaussian noise per pixel and channel, the same for every call with this shape."""
    drawn = torch.randn(pictures.shape, generator=generator("shifted by noise", 0))
    return _changed(lambda values, more: values + 255 * AMPLITUDE * more, pictures, drawn)


def inverted(pictures: Tensor) -> Tensor:
    return 255 - pictures


def rotated(pictures: Tensor) -> Tensor:
    how = {"axes": (3, 2), "reshape": False, "order": 1, "mode": "nearest"}
    return _changed(lambda values: ndimage.rotate(values, ANGLE, **how), pictures)


def gaussian_blur(pictures: Tensor, deviation: float) -> Tensor:
    """`deviation` in pixels at side 64. At side 32 severity 1, a quarter of a pixel, is lost in rounding."""
    sigma = deviation * pictures.shape[-1] / SIDE
    return _changed(lambda values: ndimage.gaussian_filter(values, (0, 0, sigma, sigma), mode="nearest"), pictures)


def gaussian_noise(pictures: Tensor, deviation: float) -> Tensor:
    """Noise per pixel and channel at side 64, or of a smaller picture; the same for every call with this shape.

    A larger picture gets it enlarged, as one that has noise is enlarged. White is 1.
    """
    n, channels, side, _ = pictures.shape
    own = min(side, SIDE)
    drawn = torch.randn(n, channels, own, own, generator=generator("gaussian noise", 0))

    def noisy(values: np.ndarray, more: np.ndarray) -> np.ndarray:
        if side > own:
            more = functional.interpolate(torch.from_numpy(more), size=(side, side), mode="bilinear").numpy()
        return values + 255 * deviation * more

    return _changed(noisy, pictures, drawn)


def contrast(pictures: Tensor, factor: float) -> Tensor:
    """`factor` of the distance of each pixel from its channel's mean over the picture."""

    def flatter(values: np.ndarray) -> np.ndarray:
        means = values.mean((2, 3), keepdims=True)
        return means + factor * (values - means)

    return _changed(flatter, pictures)


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


def _changed(change: Callable[..., np.ndarray], pictures: Tensor, *more: Tensor) -> Tensor:
    """What `change` makes of pictures as floats, and of `more` (N, …), block by block, as whole numbers again."""
    whole = []
    for some, *beside in zip(*(each.split(BLOCK) for each in (pictures, *more)), strict=True):
        values = change(some.numpy().astype(np.float32), *(each.numpy() for each in beside))
        whole.append(torch.from_numpy(values.round().clip(0, 255).astype(np.uint8)))
    return torch.cat(whole)
