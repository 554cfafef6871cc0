"""Registry of backbones: a name for the grid, and what timm builds for it. Free of torch, for the command line."""

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A timm model with the input that it expects.

    `mean` and `std` are per RGB channel, for pictures in [0, 1]. `rate` is the share of the learning rate at which all
    of its weights are trained: transformers need a lower one than convolutions. `batchnorm` says whether it has
    BatchNorm, whose factors stand for channels where those are pruned; `any_size` whether it takes pictures of other
    sizes than it was pretrained on; `blocks` how many blocks a transformer has, each of which a prompt may enter, and
    None for anything else.
    """

    timm: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    rate: float = 1.0
    batchnorm: bool = True
    any_size: bool = True
    blocks: int | None = None


ARCHITECTURES = {
    # A residual network with four blocks and 0.3 M weights: large enough to prune by 20 times, small enough
    # that two cores train it in two minutes. The deep stem of three small convolutions halves the cost of a
    # step against the usual 7 x 7 one, and keeps the detail of 32-pixel pictures.
    "cnn": Architecture("resnet10t", {"channels": (16, 32, 64, 128), "stem_width": 8}),
    # A transformer of about the same size (vpstudy/vit.py). At the rate of the network above it would stay at chance.
    # In the steps that the network above needs, two blocks learn more than four, in half the time.
    "vit": Architecture("vit_glyph", rate=0.3, batchnorm=False, any_size=False, blocks=2),
}


def read(backbone: str) -> tuple[str, int]:
    """A backbone's name as architecture and replicate: "cnn" is ("cnn", 0), "cnn-r2" is ("cnn", 2).

    Replicates are pretrained, and compressed, anew: from other initial weights, on other pictures.

    Raises ValueError naming what is allowed.
    """
    found = re.fullmatch(r"(.+?)(?:-r([1-9][0-9]*))?", backbone, re.DOTALL)
    if found is None or found[1] not in ARCHITECTURES:
        raise ValueError(
            f"no such backbone; allowed: {', '.join(ARCHITECTURES)} (registered in vpstudy/architectures.py), or with "
            f"-r1, -r2, … for one pretrained anew, e.g. {next(iter(ARCHITECTURES))}-r1"
        )
    return found[1], int(found[2] or 0)
