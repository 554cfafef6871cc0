"""How compressions are made of a backbone from elsewhere, whose source pictures are not there to train on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpstudy import paths
from vpstudy.backbones import Backbone
from vpstudy.compression import making as inside
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.distillation import distill
from vpstudy.compression.making import Making
from vpstudy.compression.masks import release
from vpstudy.compression.names import Compression, parse
from vpstudy.data import targets
from vpstudy.parameters.base import Execution, section
from vpstudy.parameters.distillation import Distillation
from vpstudy.parameters.source import Checkpoints, Compressing, Source
from vpstudy.runtime import configure, generator


@dataclass(frozen=True)
class OutsideMaking(Making):
    """`Making` with pictures of another set in place of the source's; what would train on the source is refused.

    The test pictures of that set are left out: agreement with dense can be measured on them.
    """

    recovery: Distillation

    def unlabelled(self) -> Tensor:
        """The pictures that recovery learns from, uint8 (N, 3, size, size)."""
        other = targets.load(self.recovery.pictures, self.recovery.size)
        pool = np.setdiff1d(np.arange(len(other.labels)), other.test)
        return torch.as_tensor(other.pictures)[pool]

    def pictures(self) -> tuple[Tensor, Tensor]:
        """`settings.pictures` of those (fewer if there are no more), in [0, 1], and what dense takes them for (N,)."""
        pictures = self.unlabelled()
        order = torch.randperm(len(pictures), generator=generator("compressing", self.source.seed))
        chosen = pictures[order[: self.settings.pictures]].to(self.runtime.device).float() / 255
        dense = self.dense().frozen()
        with torch.inference_mode(), self.runtime.autocast():
            labels = torch.cat([dense(batch).argmax(1) for batch in chosen.split(inside.BATCH)])
        return chosen, labels.clone()

    def start(self) -> Backbone:
        raise self._refusal("its initial weights are not known")

    def train(self, model: Backbone, stream: str, start: int, after_step=None) -> None:
        raise self._refusal("it cannot be trained on its source")

    def _refusal(self, reason: str) -> ValueError:
        return ValueError(
            f"{self.backbone} comes from elsewhere: {reason}. Give a compression that needs no training, or one that "
            f"learns from dense: {', '.join(DISTILLED)}"
        )


def _distilled(family: str) -> Callable[[Compression, OutsideMaking], Compressed]:
    """What `family` makes, then recovered."""

    def maker(compression: Compression, making: OutsideMaking) -> Compressed:
        made = inside.MAKERS[family](compression, making)
        model = made.backbone.model
        made.constrain(model)
        try:
            label = f"{compression.name}: learning from dense"
            distill(made.backbone, making.dense(), making.unlabelled(), making.recovery, making.runtime, label)
        finally:
            release(model)
        return made

    return maker


DISTILLED = {"dense_distilled": _distilled("dense"), "magnitude_distilled": _distilled("magnitude")}
MAKERS = inside.MAKERS | DISTILLED


def making(scale: str, backbone: str) -> OutsideMaking:
    """What the parameters say of how compressions are made. Raises ParameterError as `section` does."""
    return OutsideMaking(
        backbone,
        paths.MODELS / scale / backbone,
        section("source", Source, scale),
        section("compressing", Compressing, scale),
        configure(section("execution", Execution, scale)),
        section("checkpoints", Checkpoints, scale).root,
        section("recovery", Distillation, scale),
    )


def make(compression: str, making: OutsideMaking) -> Compressed:
    """Compress the dense checkpoint as the name `compression` says.

    Raises
    ------
    ValueError
        If the name is no compression, or one that trains on the source; if recovery diverges.
    FileNotFoundError
        If the dense checkpoint is not there.
    """
    parsed = parse(compression)
    return MAKERS[parsed.family](parsed, making)
