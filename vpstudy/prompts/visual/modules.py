"""Prompt modules: a border around a small picture, and a pattern added to the whole picture."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


class BorderPrompt(nn.Module):
    """A learned border around a picture of `inner` pixels on a canvas of `canvas` pixels (both square).

    The border shows sigmoid(theta); `theta` (3, canvas, canvas) starts at 0, which is mid-grey. Behind the picture it
    is never shown and has a gradient of exactly 0; the picture itself is unchanged. Pictures and output are in [0, 1];
    the backbone normalises. If canvas − inner is odd, the right and bottom margins are wider. Raises ValueError if no
    border is left.
    """

    def __init__(self, inner: int, canvas: int) -> None:
        super().__init__()
        if not 1 <= inner < canvas:
            raise ValueError(f"inner is {inner} and canvas is {canvas} pixels; a border needs 1 <= inner < canvas")
        self.inner, self.canvas = inner, canvas
        self.theta = nn.Parameter(torch.zeros(3, canvas, canvas))
        margin = (canvas - inner) // 2
        self._window = (..., slice(margin, margin + inner), slice(margin, margin + inner))
        outside = torch.ones(3, canvas, canvas, dtype=torch.bool)
        outside[self._window] = False
        self.register_buffer("outside", outside, persistent=False)

    def values(self) -> Tensor:
        """Border values (n,) in [0, 1], n = 3 · (canvas² − inner²), ordered by colour, then row."""
        return torch.sigmoid(self.theta)[self.outside]

    def canvas_of(self, values: Tensor) -> Tensor:
        """Values (n,) in place on a canvas (3, canvas, canvas), 0 behind the picture."""
        return values.new_zeros(self.outside.shape).masked_scatter(self.outside, values)

    def shown(self) -> Tensor:
        """The border as shown, (3, canvas, canvas) in [0, 1]; the picture covers its middle."""
        return torch.sigmoid(self.theta)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, inner, inner) -> (N, 3, canvas, canvas), both in [0, 1], in the wider of the two precisions."""
        _check(pictures, self.inner)
        prompt = self.shown().to(torch.promote_types(self.theta.dtype, pictures.dtype))
        # takes less than half the time of padding and torch.where
        canvas = prompt.expand(len(pictures), -1, -1, -1).clone()
        canvas[self._window] = pictures
        return canvas

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The prompt as an image (3, canvas, canvas) in [0, 1], black where the picture goes."""
        prompt = self.shown().clone()
        prompt[self._window] = 0.0
        return prompt


class AddedPrompt(nn.Module):
    """A learned pattern added to a picture that fills the canvas; sums are clipped to [0, 1].

    Gradients pass where a sum is clipped, so a pixel out of range can come back. `start` holds the initial learned
    tensors by name, `pattern` maps this module to the pattern (3, canvas, canvas), `mask` (canvas, canvas) limits it to
    some pixels, and `draw` is for patterns at random places.
    """

    def __init__(
        self,
        canvas: int,
        start: dict[str, Tensor],
        pattern: Callable[["AddedPrompt"], Tensor],
        mask: np.ndarray | None,
        draw: torch.Generator,
    ) -> None:
        super().__init__()
        self.inner = self.canvas = canvas
        self.draw, self._pattern = draw, pattern
        for name, values in start.items():
            self.register_parameter(name, nn.Parameter(values))
        self.register_buffer("mask", None if mask is None else torch.from_numpy(mask), persistent=False)

    def delta(self) -> Tensor:
        """The masked pattern, (3, canvas, canvas)."""
        delta = self._pattern(self)
        return delta if self.mask is None else torch.where(self.mask, delta, 0.0)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, canvas, canvas) in [0, 1] -> the same shape and range."""
        _check(pictures, self.canvas)
        prompted = pictures + self.delta()
        return prompted + (prompted.clamp(0, 1) - prompted).detach()

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The pattern on mid-grey, (3, canvas, canvas) in [0, 1]."""
        return (0.5 + self.delta()).clamp(0, 1)


def _check(pictures: Tensor, side: int) -> None:
    if pictures.shape[1:] != (3, side, side) or not pictures.is_floating_point():
        raise ValueError(
            f"pictures are {pictures.dtype} of shape {tuple(pictures.shape)};"
            f" expected floating-point numbers in [0, 1] of shape (N, 3, {side}, {side})"
        )
