"""A square patch in a corner of the picture, or at a random place for each training batch."""

from collections.abc import Iterator
from typing import ClassVar

from vpstudy.prompts.visual.kinds import Added, Generator, Module, Tensor
from vpstudy.settings import Positive


class Patch(Added):
    """A patch in the upper left corner. Source: Bahng et al. (2022), who try both."""

    label: ClassVar = "patch prompt"
    side: Positive  # of the square, px

    def problems(self, canvas: int) -> Iterator[str]:
        if self.side > canvas:
            yield f"side ({self.side}) must not exceed canvas ({canvas})"

    def start(self, canvas: int, draw: Generator) -> dict[str, Tensor]:
        return super().start(self.side, draw)

    def delta(self, prompt: Module) -> Tensor:
        from torch.nn.functional import pad

        room = prompt.canvas - self.side
        top, left = self.place(prompt, room)
        return pad(prompt.theta, (left, room - left, top, room - top))

    def place(self, prompt: Module, room: int) -> tuple[int, int]:
        """The upper left pixel of the square, (row, column) in 0 … room."""
        return 0, 0


class RandomPatch(Patch):
    """At a random place in training, in the middle in evaluation."""

    label: ClassVar = "random-patch prompt"

    def place(self, prompt: Module, room: int) -> tuple[int, int]:
        import torch

        if not prompt.training:
            return room // 2, room // 2
        top, left = torch.randint(room + 1, (2,), generator=prompt.draw).tolist()
        return top, left
