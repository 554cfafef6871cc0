"""Quantized borders: border prompts that show the values of a small codebook.

The visible values, sigmoid(theta) of the border, are quantized and stored on their absolute scale [0, 1]. Pixels behind
the picture are neither shown nor counted.
"""

import torch
from torch import Tensor

from vpstudy.prompts.codebook import Packed
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.visual.modules import BorderPrompt


class QuantizedBorder(BorderPrompt):
    """A border trained in full precision and shown quantized; call `step` after each optimizer step.

    A grey border has no clusters, so the codebook starts evenly over [0, 1]. Raises ValueError for settings that
    standardise values.
    """

    def __init__(self, inner: int, canvas: int, settings: Settings, device: torch.device | str = "cpu") -> None:
        super().__init__(inner, canvas)
        if settings.normalise:
            raise ValueError("normalise=True; the values of a border are those of pixels: give normalise=False")
        # made on its device: the quantizer's code histogram does not move with the module
        self.quantizer = Quantizer(torch.linspace(0, 1, int(self.outside.sum()), device=device), settings)

    def shown(self) -> Tensor:
        return self.canvas_of(self.quantizer(self.values()))

    def step(self) -> None:
        self.quantizer.step(self.values())

    def packed(self) -> Packed:
        return self.quantizer.packed(self.values())


class FixedBorder(BorderPrompt):
    """A border that shows given values (n,) and learns nothing. Raises ValueError for a wrong number of values."""

    def __init__(self, inner: int, canvas: int, values: Tensor) -> None:
        super().__init__(inner, canvas)
        if values.shape != (n := int(self.outside.sum()),):
            raise ValueError(f"values have shape {tuple(values.shape)}; this border has ({n},)")
        self.register_buffer("fixed", values.detach().clone(), persistent=False)

    def shown(self) -> Tensor:
        return self.canvas_of(self.fixed)
