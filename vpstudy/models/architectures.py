"""The study's own backbones by name. Free of torch, for the command line."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A model of a library with the input that it expects. Checkpoints carry theirs, as plain values.

    Attributes
    ----------
    name
        In the grid: a key of ARCHITECTURES, or an alias of the section `weights` of the parameters.
    model, arguments
        timm/NAME, torchvision/NAME or open_clip/NAME, and what its constructor takes, as plain JSON values.
    mean, std
        Per RGB channel, for pictures in [0, 1].
    rate
        Share of the learning rate at which all of its weights are trained: transformers need a lower one.
    batchnorm
        Whether it has BatchNorm, whose factors stand for channels where those are pruned.
    any_size
        Whether it takes pictures of other sizes than it was pretrained on.
    blocks
        Blocks of a transformer that a prompt may enter; None for anything else.
    """

    name: str
    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    rate: float = 1.0
    batchnorm: bool = True
    any_size: bool = True
    blocks: int | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Architecture":
        """The inverse of `to_dict`, also after a way through JSON."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        # A residual network with four blocks and 0.3 M weights: large enough to prune by 20 times, small enough
        # that two cores train it in two minutes. The deep stem of three small convolutions halves the cost of a
        # step against the usual 7 x 7 one, and keeps the detail of 32-pixel pictures.
        Architecture("cnn", "timm/resnet10t", {"channels": [16, 32, 64, 128], "stem_width": 8}),
        # A transformer of about the same size (vit.py). At the rate of the network above it would stay at chance.
        # In the steps that the network above needs, two blocks learn more than four, in half the time.
        Architecture("vit", "timm/vit_glyph", rate=0.3, batchnorm=False, any_size=False, blocks=2),
    )
}


def parse(backbone: str) -> tuple[str, int]:
    """A backbone's name as architecture and replicate: "cnn" is ("cnn", 0), "cnn-r2" is ("cnn", 2).

    Replicates are pretrained and compressed again: from other initial weights, on other pictures.
    """
    kind, _, replicate = backbone.partition("-r")
    return kind, int(replicate or 0)


def own(backbone: str) -> Architecture:
    """The architecture of a backbone that is pretrained here. Raises ValueError naming what is allowed."""
    known = re.fullmatch(r"([a-z0-9_]+)(-r[1-9][0-9]*)?", backbone)
    if known is None or known[1] not in ARCHITECTURES:
        raise ValueError(
            f"no such architecture; allowed: {', '.join(ARCHITECTURES)} (vpstudy/models/architectures.py), or with "
            f"-r1, -r2, … for a replicate, e.g. {next(iter(ARCHITECTURES))}-r1"
        )
    return ARCHITECTURES[known[1]]
