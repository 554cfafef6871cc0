"""Base classes of visual prompts. Free of torch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vpstudy.settings import Strict

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module
else:
    Generator = Module = Tensor = Any


class VisualPrompt(Strict):
    """Settings of a prompt on a square canvas; subclasses add their sizes."""

    label: ClassVar[str]  # in figures and tables

    def problems(self, canvas: int) -> Iterator[str]:
        """A line for each setting that does not fit a canvas of side `canvas`, px."""
        yield from ()

    def make(self, canvas: int, seed: int) -> Module:
        """An untrained prompt; its `inner` is the side of the pictures it takes, px."""
        raise NotImplementedError


class Added(VisualPrompt):
    """A prompt added to a picture that fills the canvas; by default one value a pixel, starting at 0."""

    def make(self, canvas: int, seed: int) -> Module:
        import torch

        from vpstudy.prompts.visual.modules import AddedPrompt

        if problems := list(self.problems(canvas)):
            raise ValueError("; ".join(problems))
        draw = torch.Generator().manual_seed(seed)
        return AddedPrompt(canvas, self.start(canvas, draw), self.delta, self.mask(canvas), draw)

    def start(self, canvas: int, draw: Generator) -> dict[str, Tensor]:
        """Initial values of the learned tensors, by name."""
        import torch

        return {"theta": torch.zeros(3, canvas, canvas)}

    def mask(self, canvas: int) -> np.ndarray | None:
        """Pixels (canvas, canvas) that the prompt may change; None: all."""
        return None

    def delta(self, prompt: Module) -> Tensor:
        """The pattern (3, canvas, canvas) to add; `prompt` has the tensors of `start` as attributes."""
        return prompt.theta
