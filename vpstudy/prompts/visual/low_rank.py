"""A low-rank pattern in each colour, added to the picture."""

from collections.abc import Iterator
from typing import ClassVar

from vpstudy.prompts.visual.kinds import Added, Generator, Module, Tensor
from vpstudy.settings import Positive


class LowRank(Added):
    """B · A: B (3, canvas, rank) starts at zero, A (3, rank, canvas) at random. Source: LoR-VP (ICLR 2025)."""

    label: ClassVar = "low-rank prompt"
    rank: Positive

    def problems(self, canvas: int) -> Iterator[str]:
        if self.rank > canvas:
            yield f"rank ({self.rank}) must not exceed canvas ({canvas})"

    def start(self, canvas: int, draw: Generator) -> dict[str, Tensor]:
        import torch

        a = torch.randn(3, self.rank, canvas, generator=draw) / self.rank**0.5
        return {"B": torch.zeros(3, canvas, self.rank), "A": a}

    def delta(self, prompt: Module) -> Tensor:
        return prompt.B @ prompt.A
