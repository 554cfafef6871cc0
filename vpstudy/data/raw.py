"""Pictures that were found somewhere, none of them decoded yet."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Found:
    """All pictures of one target, in the order of their names, which is the same on every machine."""

    names: list[str]  # relative paths; of sets without files, part and number
    sizes: list[int]  # bytes; 0 where there is no file
    labels: np.ndarray  # int64 (N,)
    folders: list[str]  # of the classes, in the order of the labels
    in_test: np.ndarray | None  # bool (N,); None where the pictures come in one part
    open: Callable[[int], Image.Image]  # the original at a position
