"""The registry of targets: the real pictures that a backbone is transferred to.

An embedded target is one module with a function `load(size) -> Target`, and one line in `MODULES`. Others are fetched
(`sources.py`, and `pictures` in params.yaml). Only what the target that is asked for needs is imported, so the command
line has the names without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from vpstudy.data.sources import SOURCES, AnyDeclared

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MODULES = {
    "digits": "vpstudy.data.digits",
    "textures": "vpstudy.data.textures",
    "faces": "vpstudy.data.faces",
    "letters": "vpstudy.data.letters",
}
NAMES = (*MODULES, *SOURCES, AnyDeclared("or an alias in `pictures` of params.yaml"))


@dataclass(frozen=True)
class Target:
    """Pictures of one target, resized once, with a test set that is the same for every seed and budget."""

    name: str
    class_names: list[str]
    pictures: Tensor  # uint8 (N, 3, size, size)
    labels: Tensor  # int64 (N,)
    test: np.ndarray  # int64 indices; what they leave is the pool that training and validation draw from
    description: str
    origin: str  # where the pictures come from, and their licence


@lru_cache(maxsize=8)
def load(name: str, size: int = 32) -> Target:
    """A registered target, its pictures resized to `size` pixels. Loaded once: do not write into its arrays.

    Raises ValueError for an unknown name, for a size below 1, and for pictures that are not there or not those that
    the target's split was made for.
    """
    if name not in NAMES:
        raise ValueError(f"target {name!r} is not registered; choose one of {', '.join(NAMES)}")
    if size < 1:
        raise ValueError(f"size={size} of target {name!r}: give the side of a picture in pixels, at least 1")
    if name in MODULES:
        return import_module(MODULES[name]).load(size)
    return import_module("vpstudy.data.fetched").load(name, size)
