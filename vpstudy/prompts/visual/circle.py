"""A ring that touches the edges of the canvas, added to the picture."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from vpstudy.prompts.visual.kinds import Added
from vpstudy.settings import Positive


class Circle(Added):
    """Pixels inside the largest circle of the canvas and less than `width` from its edge.

    About π · width · (canvas − width) pixels are learned; a width of half the canvas fills the circle.
    """

    label: ClassVar = "circle prompt"
    width: Positive  # of the ring, px

    def problems(self, canvas: int) -> Iterator[str]:
        if 2 * self.width > canvas:
            yield f"width ({self.width}) must not exceed half of canvas ({canvas})"

    def mask(self, canvas: int) -> np.ndarray:
        place = np.arange(canvas) - (canvas - 1) / 2
        distance = np.hypot(place[:, None], place)
        return (distance <= canvas / 2) & (distance > canvas / 2 - self.width)
