"""Domain shifts: the pictures change, the classes do not."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from vpstudy.runtime import generator

DEVIATION = 1.0  # standard deviation of the blur, pixels at side 32
AMPLITUDE = 0.2  # standard deviation of the noise; white is 1
ANGLE = 30.0  # degrees, anticlockwise


def blur(pictures: Tensor) -> Tensor:
    sigma = DEVIATION * pictures.shape[-1] / 32
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    n, channels, height, width = pictures.shape
    padded = functional.pad(pictures.float(), (reach,) * 4, mode="replicate").flatten(0, 1).unsqueeze(1)
    blurred = functional.conv2d(functional.conv2d(padded, kernel), kernel.transpose(2, 3))
    return _whole(blurred.view(n, channels, height, width))


def noise(pictures: Tensor) -> Tensor:
    """Gaussian noise per pixel and channel, the same for every call with this shape."""
    drawn = torch.randn(pictures.shape, generator=generator("shifted by noise", 0))
    return _whole(pictures + 255 * AMPLITUDE * drawn)


def inverted(pictures: Tensor) -> Tensor:
    return 255 - pictures


def rotated(pictures: Tensor) -> Tensor:
    angle = torch.deg2rad(torch.tensor(ANGLE))
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    affine = torch.cat([turn, torch.zeros(2, 1)], 1).expand(len(pictures), -1, -1)
    grid = functional.affine_grid(affine, list(pictures.shape), align_corners=False)
    return _whole(functional.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False))


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {"blur": blur, "noise": noise, "inverted": inverted, "rotated": rotated}


def shift(pictures: Tensor, name: str) -> Tensor:
    """Deterministic shift of uint8 pictures (N, 3, H, W). Raises ValueError for an unknown name."""
    if name not in SHIFTS:
        raise ValueError(f"shift {name!r} is unknown; allowed: {', '.join(SHIFTS)} (vpstudy/data/shifts.py)")
    return SHIFTS[name](pictures)


def _whole(pictures: Tensor) -> Tensor:
    return pictures.round().clamp(0, 255).to(torch.uint8)
