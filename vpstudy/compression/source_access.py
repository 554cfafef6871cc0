"""Inputs of compressions: the dense network, pictures, and training on the source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vpstudy.compression.settings import Checkpoint, Compressing, Distillation, Source
from vpstudy.data import glyphs
from vpstudy.data.target import Target
from vpstudy.models import backbones
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime, generator
from vpstudy.training.pretraining import train_on_source


@dataclass(frozen=True)
class SourceAccess:
    """A backbone that was pretrained here, with its whole source available."""

    folder: Path  # of the files of the backbone
    checkpoint: int  # which of its source checkpoints
    source: Source
    settings: Compressing
    runtime: Runtime
    checkpoints: Mapping[str, Checkpoint]  # compressed ones from outside, by key

    def dense(self) -> Backbone:
        """The source checkpoint, loaded on each call. Raises FileNotFoundError if there is none yet."""
        return backbones.load(self.folder / f"source/{self.checkpoint}.safetensors").to(self.runtime.device)

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Source pictures (N, 3, H, W) in [0, 1] and labels (N,), unseen in any training or measurement."""
        draw = generator("compressing", self.source.seed, self.checkpoint)  # each checkpoint has others
        labels = torch.randint(len(glyphs.class_names), (self.settings.pictures,), generator=draw)
        pictures = glyphs.render(labels, draw, self.source.size).float() / 255
        return pictures.to(self.runtime.device), labels.to(self.runtime.device)

    def recover(self, model: Backbone) -> None:
        """Train on the source for the last steps of its schedule, on new pictures, the same for every compression."""
        start, label = self.settings.recovery_from, "training again on the source"
        train_on_source(model, self.source, self.runtime, stream="recovery", start=start, label=label)

    def unlabelled(self) -> Tensor:
        """Pictures for distillation, uint8 (N, 3, H, W). Raises ValueError unless in `NoSourceAccess`."""
        raise ValueError("only a backbone of `weights` recovers by distillation; allowed: *_tuned")


@dataclass(frozen=True)
class NoSourceAccess(SourceAccess):
    """A backbone of `weights`: pictures of another set replace its source, and training on the source is refused.

    `held_out`, that set or another one, has the test pictures that measure agreement with dense.
    """

    distillation: Distillation
    other: Target
    held_out: Target

    def unlabelled(self) -> Tensor:
        """Pictures for distillation, uint8 (N, 3, size, size)."""
        pool = np.setdiff1d(np.arange(len(self.other.labels)), self.other.test)
        return torch.as_tensor(self.other.pictures)[pool]

    def answers(self, backbone: Backbone) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, S) of `backbone` and classes predicted by dense (N,) on held-out pictures."""
        held_out = torch.as_tensor(self.held_out.pictures)[self.held_out.test]
        found, wanted = (backbones.logits(each, held_out, self.runtime) for each in (backbone, self.dense()))
        return found.softmax(1).cpu().numpy(), wanted.argmax(1).cpu().numpy()

    def accuracy(self, backbone: Backbone, probabilities: np.ndarray) -> float | None:
        """Share of held-out pictures whose class has the name of that predicted, if all are classes of `backbone`."""
        wanted, names = np.array(self.held_out.class_names), np.array(backbone.class_names)
        if not np.isin(wanted, names).all():
            return None
        labels = np.asarray(self.held_out.labels)[self.held_out.test]
        return float((names[probabilities.argmax(1)] == wanted[labels]).mean())

    def pictures(self) -> tuple[Tensor, Tensor]:
        """At most `settings.pictures` of those for distillation, in [0, 1], and dense's predictions (N,)."""
        pictures = self.unlabelled()
        draw = generator("compressing", self.folder.name, self.source.seed)
        order = torch.randperm(len(pictures), generator=draw)
        chosen = pictures[order[: self.settings.pictures]]
        labels = backbones.logits(self.dense(), chosen, self.runtime).argmax(1)
        return chosen.to(self.runtime.device).float() / 255, labels

    def recover(self, model: Backbone) -> None:
        raise ValueError(
            f"{self.folder.name} was not pretrained here: it cannot be trained on its source. Give a compression that "
            "needs no training, or one that learns from dense: *_distilled"
        )
