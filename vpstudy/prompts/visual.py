"""The padded visual prompt: a small picture in the middle of a learned border."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PaddedPrompt(nn.Module):
    """Learned border around a picture of `inner` pixels on a canvas of `canvas` pixels (both square).

    The border shows sigmoid(theta); `theta` (3, canvas, canvas) starts at 0, that is at mid-grey. Its part
    behind the picture is never shown and gets a gradient of exactly 0; the picture itself passes bit for bit.
    Pictures and output are in [0, 1]: normalisation is the backbone's business. An odd difference leaves the
    wider margin on the right and at the bottom.

    Source: the hidden-cost paper, after ILM-VP (Chen et al., CVPR 2023).
    Raises ValueError if no border is left (`inner` >= `canvas`) or `inner` < 1.
    """

    def __init__(self, inner: int, canvas: int) -> None:
        super().__init__()
        if not 1 <= inner < canvas:
            raise ValueError(
                f"inner is {inner} and canvas is {canvas} pixels; a border needs 1 <= inner < canvas."
                " Shrink inner or enlarge canvas"
            )
        self.inner = inner
        self.canvas = canvas
        self.theta = nn.Parameter(torch.zeros(3, canvas, canvas))
        margin = (canvas - inner) // 2
        centre = slice(margin, margin + inner)
        self._window = (..., centre, centre)

    def prepare(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N, 3, inner, inner): antialiased bilinear, or the same tensor if that is its size.

        Call it once for a whole data set: `forward` then has nothing to resize.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
            raise ValueError(
                f"pictures are {pictures.dtype} of shape {tuple(pictures.shape)};"
                " expected floating-point numbers in [0, 1] of shape (N, 3, h, w)"
            )
        if pictures.shape[2:] == (self.inner, self.inner):
            return pictures
        size = (self.inner, self.inner)
        return F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) in [0, 1] -> (N, 3, canvas, canvas) in [0, 1], in the wider of the two precisions."""
        pictures = self.prepare(pictures)
        prompt = torch.sigmoid(self.theta).to(torch.promote_types(self.theta.dtype, pictures.dtype))
        # writing into copies of the prompt takes less than half the time of padding and torch.where
        canvas = prompt.expand(len(pictures), -1, -1, -1).clone()
        canvas[self._window] = pictures
        return canvas

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The learned prompt as an image (3, canvas, canvas) in [0, 1], black where the picture goes."""
        prompt = torch.sigmoid(self.theta)
        prompt[self._window] = 0.0
        return prompt
