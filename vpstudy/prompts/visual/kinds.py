"""What every visual prompt consists of: its settings, their checks, a label, and how to make it. Free of torch."""

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
    """The settings of a prompt on a square canvas; the fields of a subclass are its own sizes."""

    label: ClassVar[str]  # in figures and tables

    def problems(self, canvas: int) -> Iterator[str]:
        """A line for each setting that does not fit a canvas of that side, px."""
        yield from ()

    def make(self, canvas: int, seed: int) -> Module:
        """A prompt that has learned nothing. Its `inner` is the side of the pictures that it takes, px."""
        raise NotImplementedError


class Added(VisualPrompt):
    """A prompt added to a picture that fills the canvas; by default a value for each pixel, starting at zero."""

    def make(self, canvas: int, seed: int) -> Module:
        import torch

        from vpstudy.prompts.visual.modules import AddedPrompt

        if problems := list(self.problems(canvas)):
            raise ValueError("; ".join(problems))
        draw = torch.Generator().manual_seed(seed)
        return AddedPrompt(canvas, self.start(canvas, draw), self.delta, self.mask(canvas), draw)

    def start(self, canvas: int, draw: Generator) -> dict[str, Tensor]:
        """The tensors that are learned, by name, as they start."""
        import torch

        return {"theta": torch.zeros(3, canvas, canvas)}

    def mask(self, canvas: int) -> np.ndarray | None:
        """The pixels (canvas, canvas) that the prompt may change; None: all."""
        return None

    def delta(self, prompt: Module) -> Tensor:
        """What is added, (3, canvas, canvas); `prompt` has the tensors of `start` as attributes."""
        return prompt.theta
