"""Quantized prompts: trained in full precision, used as the nearest values of a codebook.

The codebook follows by constrained adaptive clustering (CAC, arXiv 2407.10704): from `interval` steps after a fit on,
the histogram of codes is compared with that of the fit, and the codebook is refitted if they differ too much.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vpstudy.prompts import codebook
from vpstudy.prompts.codebook import Packed, Scheme
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.settings import Positive

Refit = Literal["cac", "never", "always"]


@dataclass(frozen=True)
class Settings:
    """How a prompt is quantized. Raises pydantic's ValidationError, a ValueError, for other values."""

    bits: Annotated[int, Field(ge=1, le=codebook.MOST_BITS)]  # per value
    scheme: Scheme = "clustered"
    normalise: bool = True  # standardise before clustering; mean and deviation are the prompt's, without gradients
    refit: Refit = "cac"  # "never": fit only at the start; "always": refit at every step
    interval: Positive = 10  # steps after a fit before CAC compares
    threshold: Annotated[float, Field(ge=0)] = 0.01  # KL divergence of code histograms, in nats, above which CAC refits
    seed: int = 0


class _StraightThrough(torch.autograd.Function):
    """Straight-through estimator: the second argument forwards, the gradient goes to the first."""

    @staticmethod
    def forward(ctx, values: Tensor, quantized: Tensor) -> Tensor:
        return quantized.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient, None


class Quantizer(nn.Module):
    """A parametrization: a tensor to its nearest codebook values, with straight-through gradients.

    Call `step` after each optimizer step. A random codebook is drawn once and then only rescaled.
    """

    def __init__(self, values: Tensor, settings: Settings):
        super().__init__()
        self.settings = settings
        self.refits: list[int] = []  # steps at which the codebook was fitted
        self.divergences: list[tuple[int, float]] = []  # step and divergence of each CAC comparison
        self._steps = self._fitted = 0
        self.register_buffer("book", torch.empty(2**settings.bits, dtype=values.dtype, device=values.device))
        self._fit(values)

    def forward(self, values: Tensor) -> Tensor:
        with torch.no_grad():
            scaled, mean, deviation = self._scaled(values)
            quantized = self.book[codebook.nearest(scaled, self.book)] * deviation + mean
        return _StraightThrough.apply(values, quantized)

    @torch.no_grad()
    def step(self, values: Tensor) -> None:
        """Count an optimizer step and refit the codebook to the new `values` if due."""
        self._steps += 1
        s = self.settings
        if s.refit == "always":
            self._fit(values)
        elif s.refit == "cac" and self._steps - self._fitted >= s.interval:
            drift = codebook.divergence(self._shares, self._now(values))
            self.divergences.append((self._steps, drift))
            if drift > s.threshold:
                self._fit(values)

    @torch.no_grad()
    def packed(self, values: Tensor) -> Packed:
        """The tensor as stored; unpacked, it differs from `forward` only by the codebook's half precision."""
        scaled, mean, deviation = self._scaled(values)
        return codebook.pack(codebook.nearest(scaled, self.book), self.book * deviation + mean)

    def _scaled(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.settings.normalise:
            return codebook.standardise(values)
        return values, values.new_zeros(()), values.new_ones(())

    def _now(self, values: Tensor) -> Tensor:
        return codebook.shares(codebook.nearest(self._scaled(values)[0], self.book), self.settings.bits)

    @torch.no_grad()
    def _fit(self, values: Tensor) -> None:
        s = self.settings
        self.book.copy_(codebook.fit(self._scaled(values)[0], s.bits, s.scheme, s.seed))
        self._fitted, self._shares = self._steps, self._now(values)
        self.refits.append(self._steps)


class QuantizedBorder(BorderPrompt):
    """A border trained in full precision and shown quantized; call `step` after each optimizer step.

    What is quantized are the visible values, sigmoid(theta) around the picture, on their absolute scale [0, 1]. A grey
    border has no clusters, so the codebook starts evenly over that. Raises ValueError for settings that standardise
    values.
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
