"""The frame prompt of VPNs: a learned frame added to a picture that fills the canvas."""

import torch

from vpstudy.prompts.visual import AddedPrompt


class FramePrompt(AddedPrompt):
    """A frame of `width` pixels along the edge of the canvas, added to the picture and starting at zero.

    As every added prompt, it passes gradients where the sum was clipped to [0, 1]; the original's stop there, which a
    dark border would never leave. 4 · width · (canvas − width) pixels are learned.

    Source: arXiv 2312.01397, its default prompt ("pad").
    Raises ValueError for a width outside 1 … canvas / 2.
    """

    def __init__(self, canvas: int, width: int) -> None:
        super().__init__(canvas)
        if not 1 <= width <= canvas // 2:
            raise ValueError(f"width is {width} pixels; allowed are 1 to half the side of the canvas, {canvas // 2}")
        self.theta = torch.nn.Parameter(torch.zeros(3, canvas, canvas))
        frame = torch.ones(canvas, canvas, dtype=torch.bool)
        frame[width : canvas - width, width : canvas - width] = False
        self.register_buffer("frame", frame, persistent=False)

    def delta(self) -> torch.Tensor:
        return torch.where(self.frame, self.theta, 0.0)
