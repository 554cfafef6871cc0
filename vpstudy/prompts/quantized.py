"""Quantized prompts: trained in full precision, used as the nearest values of a codebook.

The codebook follows by constrained adaptive clustering (CAC, arXiv 2407.10704): from `interval` steps after a fit on,
the histogram of codes is compared with that of the fit, and the codebook is refitted if they differ too much.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vpstudy.prompts import codebook
from vpstudy.prompts.codebook import Packed, Scheme

Refit = Literal["cac", "never", "always"]
REFITS = get_args(Refit)


@dataclass(frozen=True)
class Settings:
    """How a prompt is quantized."""

    bits: int  # per value, 1 … 8
    scheme: Scheme = "clustered"
    normalise: bool = True  # standardise before clustering; mean and deviation are the prompt's, without gradients
    refit: Refit = "cac"  # "never": fit only at the start; "always": refit at every step
    interval: int = 10  # steps after a fit before CAC compares
    threshold: float = 0.01  # KL divergence of code histograms, in nats, above which CAC refits
    seed: int = 0

    def __post_init__(self):
        codebook.check_bits(self.bits)
        if self.refit not in REFITS or self.interval < 1 or self.threshold < 0:
            raise ValueError(
                f"refit={self.refit!r}, interval={self.interval}, threshold={self.threshold}: give refit as one of "
                f"{', '.join(REFITS)}, interval >= 1 and threshold >= 0"
            )


@dataclass
class Log:
    """Steps at which the codebook was fitted, and (step, divergence) of each CAC comparison."""

    refits: list[int] = field(default_factory=list)
    divergences: list[tuple[int, float]] = field(default_factory=list)


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
        self.settings, self.log = settings, Log()
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
            self.log.divergences.append((self._steps, drift))
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
        self.log.refits.append(self._steps)
