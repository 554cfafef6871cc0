"""What every visual prompt is made of: its settings, their checks, a label, and how to make it. Free of torch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vpstudy.settings import Strict

if TYPE_CHECKING:
    import torch

    from vpstudy.prompts.visual.modules import AddedPrompt


class VisualPrompt(Strict):
    """The settings of a prompt that shows pictures on a square canvas; the fields of a subclass are its own sizes, px.

    Attributes
    ----------
    label
        In figures and tables.
    """

    label: ClassVar[str]

    def problems(self, canvas: int) -> Iterator[str]:
        """A line for each setting that does not fit a canvas of that side, px."""
        yield from ()

    def make(self, canvas: int, seed: int) -> "torch.nn.Module":
        """A prompt that has learned nothing. Its `inner` is the side of the pictures that it takes, px."""
        raise NotImplementedError


class Added(VisualPrompt):
    """A prompt added to a picture that fills the canvas; by default a value for each pixel, starting at zero."""

    def make(self, canvas: int, seed: int) -> "AddedPrompt":
        import torch

        from vpstudy.prompts.visual.modules import AddedPrompt

        if problems := list(self.problems(canvas)):
            raise ValueError("; ".join(problems))
        draw = torch.Generator().manual_seed(seed)
        return AddedPrompt(canvas, self.start(canvas, draw), self.delta, self.mask(canvas), draw)

    def start(self, canvas: int, draw: "torch.Generator") -> "dict[str, torch.Tensor]":
        """The tensors that are learned, as they start."""
        import torch

        return {"theta": torch.zeros(3, canvas, canvas)}

    def mask(self, canvas: int) -> np.ndarray | None:
        """The pixels (canvas, canvas) that the prompt may change; None: all."""
        return None

    def delta(self, prompt: "AddedPrompt") -> "torch.Tensor":
        """What is added, (3, canvas, canvas), from the tensors of `start`."""
        return prompt.theta
