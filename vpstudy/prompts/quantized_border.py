"""Quantized borders: a border prompt whose shown values are those of a small codebook.

The values that are quantized, and stored, are those that the backbone sees: sigmoid(theta) of the border alone, on
their absolute scale [0, 1]. What lies behind the picture is neither shown nor counted.
"""

import torch
from torch import Tensor

from vpstudy.prompts.codebook import Packed
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.visual.modules import BorderPrompt


class QuantizedBorder(BorderPrompt):
    """A border that is trained in full and shown quantized; call `step` after each step of the optimizer.

    A grey border has no clusters: the codebook starts evenly over [0, 1], and follows the values as `settings` say.
    Raises ValueError if those ask for standardised values.
    """

    def __init__(self, inner: int, canvas: int, settings: Settings, device: torch.device | str = "cpu") -> None:
        super().__init__(inner, canvas)
        if settings.normalise:
            raise ValueError("normalise=True; the values of a border are those of pixels: give normalise=False")
        # made on its device: what the quantizer remembers of its codes does not move with it
        self.quantizer = Quantizer(torch.linspace(0, 1, int(self.outside.sum()), device=device), settings)

    def shown(self) -> Tensor:
        return self.canvas_of(self.quantizer(self.values()))

    def step(self) -> None:
        self.quantizer.step(self.values())

    def packed(self) -> Packed:
        """The border as it is stored."""
        return self.quantizer.packed(self.values())


class FixedBorder(BorderPrompt):
    """A border that shows given values (n,) and learns nothing. Raises ValueError for another number of values."""

    def __init__(self, inner: int, canvas: int, values: Tensor) -> None:
        super().__init__(inner, canvas)
        if values.shape != (n := int(self.outside.sum()),):
            raise ValueError(f"values have shape {tuple(values.shape)}; this border has ({n},)")
        self.register_buffer("fixed", values.detach().clone(), persistent=False)

    def shown(self) -> Tensor:
        return self.canvas_of(self.fixed)
