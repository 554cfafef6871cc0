"""The source task: pretraining a backbone on rendered glyphs, and evaluating it there."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from vpstudy.compression.settings import Source
from vpstudy.data import glyphs
from vpstudy.models.backbones import Backbone, logits
from vpstudy.progress import track
from vpstudy.runtime import Runtime, generator


def train_on_source(
    backbone: Backbone,
    settings: Source,
    runtime: Runtime,
    *,
    stream: str,
    label: str,
    start: int = 0,
    after_step: Callable[[int, nn.Module], None] | None = None,
) -> list[float]:
    """Train all weights on freshly rendered glyphs: AdamW, one-cycle schedule. Returns the loss of each step.

    `stream` names the random stream of the pictures: each round of pruning sees new ones, and so does each source
    checkpoint. `start` is the schedule's first step: a rewound network trains for the rest of it. `after_step` gets the
    number of steps done and the model, e.g. to keep early weights. Raises ValueError if the loss is not finite.
    """
    backbone.train().requires_grad_(True)
    rate = settings.learning_rate * backbone.architecture.rate
    pictures_of = generator("glyphs", stream, settings.seed, backbone.checkpoint)
    n_classes = len(backbone.class_names)
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=rate, weight_decay=settings.weight_decay)
    scheduler = OneCycleLR(optimizer, rate, total_steps=settings.steps)
    with warnings.catch_warnings():  # a rewound network skips steps on purpose
        warnings.simplefilter("ignore")
        for _ in range(start):
            scheduler.step()
    losses = []
    for step in track(range(start + 1, settings.steps + 1), label):
        labels = torch.randint(n_classes, (settings.batch,), generator=pictures_of)
        pictures = glyphs.render(labels, pictures_of, settings.size).to(runtime.device).float() / 255
        with runtime.autocast():
            loss = F.cross_entropy(backbone(pictures).float(), labels.to(runtime.device))
        if not torch.isfinite(loss):
            raise ValueError(
                f"{label}: the loss is {loss.item()} at step {step}; "
                f"lower source.learning_rate ({settings.learning_rate})"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if after_step:
            after_step(step, backbone.model)
    return losses


def upstream_probabilities(backbone: Backbone, settings: Source, runtime: Runtime) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, S) and labels (N,) on fresh glyphs in the training fonts, the same for every compression."""
    pictures, labels = glyphs.dataset(settings.held_out, seed=settings.seed, size=settings.size)
    return logits(backbone, pictures, runtime).softmax(1).cpu().numpy(), labels.numpy()
