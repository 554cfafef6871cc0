"""A pattern of low rank in each colour, added to the whole picture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from vpstudy.prompts.visual.kinds import Added
from vpstudy.settings import Positive

if TYPE_CHECKING:
    import torch

    from vpstudy.prompts.visual.modules import AddedPrompt


class LowRank(Added):
    """B · A: B (3, canvas, rank) starts at zero, A (3, rank, canvas) at random. Source: LoR-VP (ICLR 2025)."""

    label: ClassVar = "low-rank prompt"
    rank: Positive

    def problems(self, canvas: int) -> Iterator[str]:
        if self.rank > canvas:
            yield f"rank ({self.rank}) must not exceed canvas ({canvas})"

    def start(self, canvas: int, draw: "torch.Generator") -> "dict[str, torch.Tensor]":
        import torch

        a = torch.randn(3, self.rank, canvas, generator=draw) / self.rank**0.5
        return {"B": torch.zeros(3, canvas, self.rank), "A": a}

    def delta(self, prompt: "AddedPrompt") -> "torch.Tensor":
        return prompt.B @ prompt.A
