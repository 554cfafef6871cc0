"""Fine-tuning: all weights are trained, within the constraints of the compression."""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from vpstudy.models.backbones import Backbone, train_statistics
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Learner, fit
from vpstudy.training.linear_probe import Head
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import FineTuning


class Tuned(Learner):
    """A backbone and a new head, both trained."""

    def __init__(self, backbone: Backbone, n_classes: int, seed: int):
        super().__init__()
        self.backbone = backbone
        self.head = Head(backbone.classifier.in_features, n_classes, seed)

    def train(self, mode: bool = True) -> "Tuned":
        """Training mode as `train_statistics` has it, or evaluation mode."""
        super().train(mode)
        if mode:
            train_statistics(self.backbone)
        return self

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone.features(pictures))

    def optimizer(self, schedule: FineTuning) -> tuple[torch.optim.Optimizer, LRScheduler]:
        """Adam with weight decay and a cosine schedule."""
        optimizer = torch.optim.Adam(
            [p for p in self.parameters() if p.requires_grad],
            lr=schedule.learning_rate * self.backbone.architecture.rate,
            weight_decay=schedule.weight_decay,
        )
        return optimizer, CosineAnnealingLR(optimizer, schedule.steps)


def fine_tuning(
    backbone: Backbone,
    data: TransferData,
    budget: int | str,
    seed: int,
    settings: FineTuning,
    constrain: Callable[[nn.Module], None] | None = None,
) -> Outcome:
    """Train a copy of `backbone` and a new head; the artefact is the state of the whole tuned model.

    `constrain` keeps the copy compressed during training: pruned weights at exactly zero, quantized ones on their grid.
    """
    tuned = copy.deepcopy(backbone).requires_grad_(True)
    tuned.classifier.requires_grad_(False)  # the source head is unused
    if constrain:
        constrain(tuned.model)
    learner = Tuned(tuned, len(data.class_names), seed)
    return fit(learner, data, data.pictures(settings.size), budget, seed, settings)
