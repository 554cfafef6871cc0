"""How compressions are made of a backbone from elsewhere, whose source pictures are not there to train on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpstudy.compression import make as inside
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.distillation import distill
from vpstudy.compression.make import Making
from vpstudy.compression.masks import release
from vpstudy.compression.names import Compression
from vpstudy.compression.recovery import Distillation
from vpstudy.data.target import load
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import generator


@dataclass(frozen=True)
class OutsideMaking(Making):
    """`Making` with pictures of another set in place of the source's; what would train on the source is refused.

    The test pictures of that set are left out: agreement with dense can be measured on them.
    """

    recovery: Distillation

    @property
    def makers(self) -> inside.Makers:
        return inside.MAKERS | DISTILLED

    def unlabelled(self) -> Tensor:
        """The pictures that recovery learns from, uint8 (N, 3, size, size)."""
        other = load(self.recovery.pictures, self.recovery.size)
        pool = np.setdiff1d(np.arange(len(other.labels)), other.test)
        return torch.as_tensor(other.pictures)[pool]

    def answers(self, backbone: Backbone) -> tuple[np.ndarray, np.ndarray]:
        """On the pictures that recovery does not see: probabilities (N, S), and what dense takes each for (N,)."""
        other = load(self.recovery.pictures, self.recovery.size)
        held_out = torch.as_tensor(other.pictures)[other.test]
        logits = self._logits(backbone, held_out)
        return logits.softmax(1).cpu().numpy(), self._logits(self.dense(), held_out).argmax(1).cpu().numpy()

    def pictures(self) -> tuple[Tensor, Tensor]:
        """`settings.pictures` of those (fewer if there are no more), in [0, 1], and what dense takes them for (N,)."""
        pictures = self.unlabelled()
        order = torch.randperm(len(pictures), generator=generator("compressing", self.source.seed))
        chosen = pictures[order[: self.settings.pictures]]
        return chosen.to(self.runtime.device).float() / 255, self._logits(self.dense(), chosen).argmax(1)

    def start(self) -> Backbone:
        raise self._refusal("its initial weights are not known")

    def train(self, model: Backbone, stream: str, start: int, after_step=None) -> None:
        raise self._refusal("it cannot be trained on its source")

    def _logits(self, backbone: Backbone, pictures: Tensor) -> Tensor:
        backbone.frozen().to(self.runtime.device)
        with torch.no_grad(), self.runtime.autocast():
            batches = pictures.split(inside.BATCH)
            return torch.cat([backbone(batch.to(self.runtime.device).float() / 255).float() for batch in batches])

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
