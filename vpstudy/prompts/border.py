"""Quantized borders: a padded prompt whose shown values are those of a small codebook.

What is quantized is what the backbone sees and what would be stored: the shown values, sigmoid(theta), of the border
alone. What lies behind the picture is neither shown nor counted. Values keep their absolute scale, [0, 1].
"""

import torch
from torch import Tensor

from vpstudy.prompts import codebook
from vpstudy.prompts.codebook import Packed, Scheme
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.visual import PaddedPrompt


class Border(PaddedPrompt):
    """A padded prompt that tells the shown values of its border."""

    def __init__(self, inner: int, canvas: int) -> None:
        super().__init__(inner, canvas)
        outside = torch.ones(3, canvas, canvas, dtype=torch.bool)
        outside[self._window] = False
        self.register_buffer("outside", outside, persistent=False)

    def values(self) -> Tensor:
        """The shown values (n,), n = 3 · (canvas² − inner²), in [0, 1]: colours in turn, row by row."""
        return torch.sigmoid(self.theta)[self.outside]

    def canvas_of(self, values: Tensor) -> Tensor:
        """Values (n,) at their places, (3, canvas, canvas), 0 behind the picture."""
        return values.new_zeros(self.outside.shape).masked_scatter(self.outside, values)

    def shown(self) -> Tensor:
        """What the border shows, (n,)."""
        return self.values()

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) in [0, 1] -> (N, 3, canvas, canvas) in [0, 1]."""
        pictures = self.prepare(pictures)
        canvas = self.canvas_of(self.shown()).to(torch.promote_types(self.theta.dtype, pictures.dtype))
        canvas = canvas.expand(len(pictures), -1, -1, -1).clone()
        canvas[self._window] = pictures
        return canvas

    @torch.no_grad()
    def picture(self) -> Tensor:
        """The border as an image (3, canvas, canvas) in [0, 1], black where the picture goes."""
        return self.canvas_of(self.shown())


class QuantizedBorder(Border):
    """A border that is trained in full and shown quantized; call `step` after each step of the optimizer.

    A grey border has no clusters: the codebook starts evenly over [0, 1], and follows the values as `settings` say.

    Raises
    ------
    ValueError
        If `settings` ask for standardised values.
    """

    def __init__(self, inner: int, canvas: int, settings: Settings, device: torch.device | str = "cpu") -> None:
        super().__init__(inner, canvas)
        if settings.normalise:
            raise ValueError("normalise=True; the values of a border are those of pixels: give normalise=False")
        # made where it is used: what the quantizer remembers of its codes does not move with it
        self.quantizer = Quantizer(torch.linspace(0, 1, int(self.outside.sum()), device=device), settings)

    def shown(self) -> Tensor:
        return self.quantizer(self.values())

    def step(self) -> None:
        self.quantizer.step(self.values())

    def packed(self) -> Packed:
        """The border as it is stored."""
        return self.quantizer.packed(self.values())


class FixedBorder(Border):
    """A border that shows given values (n,) and learns nothing.

    Raises
    ------
    ValueError
        If there are not as many values as the border has.
    """

    def __init__(self, inner: int, canvas: int, values: Tensor) -> None:
        super().__init__(inner, canvas)
        if values.shape != (int(self.outside.sum()),):
            raise ValueError(f"values have shape {tuple(values.shape)}; this border has ({int(self.outside.sum())},)")
        self.register_buffer("fixed", values.detach().clone(), persistent=False)

    def shown(self) -> Tensor:
        return self.fixed


def quantized(values: Tensor, bits: int, scheme: Scheme, seed: int = 0) -> Packed:
    """Trained values (n,) quantized afterwards, as they are stored; errors are those of `codebook.fit`."""
    book = codebook.fit(values, bits, scheme, seed)
    return codebook.pack(codebook.nearest(values, book), book)
