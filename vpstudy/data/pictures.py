"""What the bundled targets share: grey arrays to pictures, and a test set fixed once for all."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def from_grey(grey: np.ndarray, size: int) -> Tensor:
    """Grey pictures (N, H, W) in [0, 1] to uint8 (N, 3, size, size), antialiased, nothing else changed."""
    pictures = torch.as_tensor(grey, dtype=torch.float32).unsqueeze(1) * 255
    pictures = functional.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    return pictures.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def stratified_test(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Sorted indices of `per_class` pictures of each class, drawn at random but always the same ones."""
    draw = np.random.default_rng(0)
    classes = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    return np.sort(np.concatenate([draw.choice(members, per_class, replace=False) for members in classes]))
