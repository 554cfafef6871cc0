"""A learned border around a smaller picture."""

from collections.abc import Iterator
from typing import ClassVar

from vpstudy.prompts.visual.kinds import Module, VisualPrompt
from vpstudy.settings import Positive


class Border(VisualPrompt):
    """Source: the hidden-cost paper (arXiv 2308.14969), after ILM-VP (Chen et al., CVPR 2023)."""

    label: ClassVar = "border prompt"
    inner: Positive  # side of the picture inside the border, px

    def problems(self, canvas: int) -> Iterator[str]:
        if self.inner >= canvas:
            yield f"inner ({self.inner}) must be below canvas ({canvas}), or no border is left"

    def make(self, canvas: int, seed: int) -> Module:
        from vpstudy.prompts.visual.modules import BorderPrompt

        return BorderPrompt(self.inner, canvas)
