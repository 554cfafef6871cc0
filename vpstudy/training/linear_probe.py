"""Linear probing: a new linear head on frozen features."""

import torch
from torch import nn

from vpstudy.models.backbones import Backbone
from vpstudy.runtime import seed_for
from vpstudy.training.data import TransferData
from vpstudy.training.fit import Learner, fit
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import LinearProbe


class Head(Learner):
    """A linear layer from features (N, F) to target logits (N, K)."""

    def __init__(self, n_features: int, n_classes: int, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("initialisation", seed))
            self.linear = nn.Linear(n_features, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)


def linear_probe(
    backbone: Backbone, data: TransferData, budget: int | str, seed: int, settings: LinearProbe
) -> Outcome:
    """Train a head; the artefact holds `linear.weight` (K, F) and `linear.bias` (K,)."""
    features = data.features(backbone, settings.size, settings.inner)
    return fit(Head(features.shape[1], len(data.class_names), seed), data, features, budget, seed, settings)
