"""Visual prompts: a small picture in the middle of a learned border, or a pattern added to the whole picture."""

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


class AddedPrompt(nn.Module):
    """A learned pattern added to the whole picture, which fills the canvas; sums are clipped to [0, 1].

    Where a sum is clipped the gradient still passes: a pixel that has left the range can come back.

    Parameters
    ----------
    canvas
        Side of the picture, px.
    """

    def __init__(self, canvas: int) -> None:
        super().__init__()
        self.inner = self.canvas = canvas

    def delta(self) -> Tensor:
        """What is added, (3, canvas, canvas)."""
        raise NotImplementedError

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, canvas, canvas) in [0, 1] -> the same shape in [0, 1]."""
        if pictures.shape[1:] != (3, self.canvas, self.canvas):
            raise ValueError(
                f"pictures have shape {tuple(pictures.shape)}; expected (N, 3, {self.canvas}, {self.canvas})"
            )
        prompted = pictures + self.delta()
        return prompted + (prompted.clamp(0, 1) - prompted).detach()

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The pattern on mid-grey, (3, canvas, canvas) in [0, 1]."""
        return (0.5 + self.delta()).clamp(0, 1)


class FullPrompt(AddedPrompt):
    """A value for each pixel (Bahng et al. 2022), starting at zero."""

    def __init__(self, canvas: int) -> None:
        super().__init__(canvas)
        self.theta = nn.Parameter(torch.zeros(3, canvas, canvas))

    def delta(self) -> Tensor:
        return self.theta


class LowRankPrompt(AddedPrompt):
    """B · A in each colour, of rank `rank` (LoR-VP, ICLR 2025): B starts at zero, A at random.

    Raises ValueError for a rank outside 1 … canvas.
    """

    def __init__(self, canvas: int, rank: int, seed: int) -> None:
        super().__init__(canvas)
        if not 1 <= rank <= canvas:
            raise ValueError(f"rank is {rank}; allowed are 1 to the side of the canvas, {canvas}")
        draw = torch.Generator().manual_seed(seed)
        self.B = nn.Parameter(torch.zeros(3, canvas, rank))
        self.A = nn.Parameter(torch.randn(3, rank, canvas, generator=draw) / rank**0.5)

    def delta(self) -> Tensor:
        return self.B @ self.A


class PatchPrompt(AddedPrompt):
    """A square of `patch` pixels that is added in one corner, or, in training, at a place of each batch's own.

    Bahng et al. (2022) try both. A random patch is measured in the middle.

    Raises ValueError for a patch outside 1 … canvas.
    """

    def __init__(self, canvas: int, patch: int, seed: int | None = None) -> None:
        super().__init__(canvas)
        if not 1 <= patch <= canvas:
            raise ValueError(f"patch is {patch} pixels; allowed are 1 to the side of the canvas, {canvas}")
        self.theta = nn.Parameter(torch.zeros(3, patch, patch))
        self._draw = None if seed is None else torch.Generator().manual_seed(seed)

    def delta(self) -> Tensor:
        room = self.canvas - self.theta.shape[-1]
        if self._draw is None:
            top = left = 0
        elif self.training:
            top, left = torch.randint(room + 1, (2,), generator=self._draw).tolist()
        else:
            top = left = room // 2
        return F.pad(self.theta, (left, room - left, top, room - top))


def make_prompt(kind: str, inner: int, canvas: int, *, rank: int, patch: int, seed: int) -> nn.Module:
    """The prompt called `kind`; its `inner` is the side to which pictures are resized before.

    Raises ValueError for an unknown kind, naming those there are, and for sizes that do not fit.
    """
    prompts = {
        "pad": lambda: PaddedPrompt(inner, canvas),
        "full": lambda: FullPrompt(canvas),
        "low_rank": lambda: LowRankPrompt(canvas, rank, seed),
        "patch": lambda: PatchPrompt(canvas, patch),
        "random_patch": lambda: PatchPrompt(canvas, patch, seed),
    }
    if kind not in prompts:
        raise ValueError(f"prompt {kind!r} is unknown; allowed: {', '.join(prompts)}")
    return prompts[kind]()
