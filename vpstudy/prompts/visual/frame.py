"""A frame along the edge of the canvas, added to the picture."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from vpstudy.prompts.visual.kinds import Added
from vpstudy.settings import Positive


class Frame(Added):
    """4 · width · (canvas − width) learned pixels. Source: arXiv 2312.01397 (VPNs), its default ("pad").

    The original has no gradient where the sum is clipped to [0, 1], so a dark border would never change; ours has, as
    every added prompt.
    """

    label: ClassVar = "frame prompt"
    width: Positive  # px

    def problems(self, canvas: int) -> Iterator[str]:
        if 2 * self.width > canvas:
            yield f"width ({self.width}) must not exceed half of canvas ({canvas})"

    def mask(self, canvas: int) -> np.ndarray:
        frame = np.ones((canvas, canvas), bool)
        frame[self.width : canvas - self.width, self.width : canvas - self.width] = False
        return frame
