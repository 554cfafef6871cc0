"""Gradual magnitude pruning: prunes a little more every few steps of training (Zhu & Gupta 2017)."""

from collections.abc import Collection

import torch
from torch import nn

from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import Mask


def cubic_sparsity(step: int, final: float, begin: int, end: int) -> float:
    """final · (1 − (1 − progress)³), with progress from 0 at `begin` to 1 at `end`: fast first, then slow."""
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final * (1 - (1 - progress) ** 3)


class GradualPruning:
    """Prunes by magnitude over all layers; call it with the steps done and the model after each optimizer step.

    Pruned weights stay pruned and are zero after every step; from step `end` on they are exactly round(final · n).
    `mask` is None before the first pruning. Raises ValueError unless 0 < final < 1, begin < end and every >= 1.
    """

    def __init__(self, prunable: Collection[str], final: float, begin: int, end: int, every: int):
        if not (0 < final < 1 and begin < end and every >= 1):
            raise ValueError(
                f"final={final}, begin={begin}, end={end}, every={every}: give 0 < final < 1, begin < end, every >= 1"
            )
        self.prunable, self.final, self.begin, self.end, self.every = list(prunable), final, begin, end, every
        self.mask: Mask | None = None

    @torch.no_grad()
    def __call__(self, step: int, model: nn.Module) -> None:
        weights = {name: model.get_parameter(name) for name in self.prunable}
        due = step == self.end or (self.begin < step < self.end and (step - self.begin) % self.every == 0)
        if due:
            sparsity = cubic_sparsity(step, self.final, self.begin, self.end)
            self.mask = magnitude(weights, sparsity, mask=self.mask)
        if self.mask is not None:
            self.mask.apply_(weights)
