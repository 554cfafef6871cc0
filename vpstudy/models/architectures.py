"""The study's own backbones by name. Imports no torch, for the command line."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A library model and the input it expects. Checkpoints store it as plain values."""

    name: str  # in the grid: a key of ARCHITECTURES or an alias in `weights`
    model: str  # timm/NAME, torchvision/NAME or open_clip/NAME
    arguments: dict[str, Any] = field(default_factory=dict)  # of the constructor, plain JSON values
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)  # R, G, B, for pictures in [0, 1]
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    rate: float = 1.0  # factor of the learning rate for training all weights; transformers need a lower one
    batchnorm: bool = True  # has BatchNorm, whose factors stand for channels when channels are pruned
    any_size: bool = True  # takes pictures of other sizes than in pretraining
    blocks: int | None = None  # transformer blocks that a prompt may enter; None: no prompts inside

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Architecture":
        """Inverse of `to_dict`, also after JSON, which has no tuples."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        # A residual network with four blocks and 0.3 M weights: large enough to prune 20-fold, small enough to train
        # in two minutes on two cores. Its stem of three small convolutions halves the cost of a step compared with the
        # usual 7 x 7 one and keeps the detail of 32-pixel pictures.
        Architecture("cnn", "timm/resnet10t", {"channels": [16, 32, 64, 128], "stem_width": 8}),
        # A transformer of about the same size (vit.py). At the learning rate of `cnn` it stays at chance. In the steps
        # that `cnn` needs, two blocks learn more than four, in half the time.
        Architecture("vit", "timm/vit_glyph", rate=0.3, batchnorm=False, any_size=False, blocks=2),
    )
}


def own(backbone: str) -> Architecture:
    """Architecture of a backbone that is pretrained here. Raises ValueError with the allowed names."""
    if backbone not in ARCHITECTURES:
        raise ValueError(f"no such architecture; allowed: {', '.join(ARCHITECTURES)} (vpstudy/models/architectures.py)")
    return ARCHITECTURES[backbone]
