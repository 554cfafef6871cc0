"""Augmentation by random shifts."""

import torch
from torch import Tensor
from torch.nn import functional


def shifted(pictures: Tensor, most: int, draw: torch.Generator) -> Tensor:
    """Shift each picture (N, 3, H, W) by up to ±`most` pixels per axis, repeating edges; `most` = 0 draws nothing."""
    if most == 0:
        return pictures
    n, _, height, width = pictures.shape
    down, right = torch.randint(2 * most + 1, (2, n, 1), generator=draw)
    rows, columns = torch.arange(height) + down, torch.arange(width) + right
    padded = functional.pad(pictures.float(), (most,) * 4, mode="replicate").to(pictures.dtype)
    places = torch.arange(n)[:, None, None], slice(None), rows[:, :, None], columns[:, None, :]
    return padded[places].permute(0, 3, 1, 2).contiguous()
