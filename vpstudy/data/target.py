"""Targets: the pictures that a backbone is transferred to, embedded (`targets/`) or fetched (`fetched.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vpstudy.data.origin import Origin, origin_of
from vpstudy.data.registry import EMBEDDED


@dataclass(frozen=True)
class Target:
    """Resized pictures of a target, with one test set for all seeds and budgets."""

    name: str
    class_names: list[str]
    pictures: Tensor  # uint8 (N, 3, size, size)
    labels: Tensor  # int64 (N,)
    test: np.ndarray  # int64 indices; the rest is for training and validation
    credit: str  # authors and licence


def load(name: str, size: int = 32, origins: Mapping[str, Origin] | None = None) -> Target:
    """Load a target at `size` pixels. Results are cached: do not modify them.

    `origins` (section `pictures` of the parameters) takes precedence over the registry. Raises ValueError for an
    unknown name, size < 1, or pictures that are missing or do not match the split file.
    """
    if size < 1:
        raise ValueError(f"size={size} of target {name!r}: give the side of a picture in pixels, at least 1")
    return _load(name, size, None if name in EMBEDDED else origin_of(name, origins or {}))


@lru_cache(maxsize=8)
def _load(name: str, size: int, origin: Origin | None) -> Target:
    if origin is None:
        return import_module(EMBEDDED[name]).load(size)
    return import_module("vpstudy.data.fetched").load(name, size, origin)


def from_grey(grey: np.ndarray, size: int) -> Tensor:
    """Resize grey pictures (N, H, W) in [0, 1] with antialiasing to uint8 (N, 3, size, size)."""
    pictures = torch.as_tensor(grey, dtype=torch.float32).unsqueeze(1) * 255
    pictures = functional.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    return pictures.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def stratified_test(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Sorted indices of `per_class` pictures per class, drawn with a fixed seed."""
    draw = np.random.default_rng(0)
    classes = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    return np.sort(np.concatenate([draw.choice(members, per_class, replace=False) for members in classes]))
