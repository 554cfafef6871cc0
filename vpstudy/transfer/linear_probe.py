"""Linear probing: a new linear head on frozen features, each of which is computed once."""

import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR

from vpstudy.backbones import Backbone
from vpstudy.parameters.hidden_cost import LinearProbe
from vpstudy.runtime import seed_for
from vpstudy.transfer.data import TransferData
from vpstudy.transfer.fit import Learner, fit
from vpstudy.transfer.outcome import Outcome


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
    """Train a head as the paper does: Adam, the rate divided by ten at 50 % and 72 % of the steps.

    Returns
    -------
    Outcome
        Its artefact holds `linear.weight` (K, F) and `linear.bias` (K,).
    """
    features = data.features(backbone, settings.size)
    learner = Head(features.shape[1], len(data.class_names), seed).to(data.runtime.device)
    optimizer = torch.optim.Adam(learner.parameters(), lr=settings.learning_rate)
    milestones = [round(0.5 * settings.steps), round(0.72 * settings.steps)]
    return fit(
        learner,
        data,
        features,
        method="linear_probe",
        budget=budget,
        seed=seed,
        schedule=settings,
        optimizer=optimizer,
        scheduler=MultiStepLR(optimizer, milestones),
    )
