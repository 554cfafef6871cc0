"""Registry of backbones: a name for the grid, and what timm builds for it. Free of torch, for the command line."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A timm model with the input that it expects.

    `mean` and `std` are per RGB channel, for pictures in [0, 1].
    """

    timm: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)


ARCHITECTURES = {
    # A residual network with four blocks and 0.3 M weights: large enough to prune by 20 times, small enough
    # that two cores train it in two minutes. The deep stem of three small convolutions halves the cost of a
    # step against the usual 7 x 7 one, and keeps the detail of 32-pixel pictures.
    "cnn": Architecture("resnet10t", {"channels": (16, 32, 64, 128), "stem_width": 8}),
}
