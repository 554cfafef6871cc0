"""Prompt learning: the shared training loop, and text prompts on frozen picture features (CoOp and its kin)."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.models.sentence_tower import Tower
from vpstudy.prompts.quantized import Quantizer
from vpstudy.prompts.text import NETWORKS, Network, TextPrompt, first_context
from vpstudy.runtime import generator, seed_for
from vpstudy.training.fit import Diverged, evenly_spaced
from vpstudy.training.prompt_learning.measuring import accuracies, logits_from, measure, texts_of
from vpstudy.training.prompt_learning.prompters.base import Noise, Variant
from vpstudy.training.prompt_learning.settings import Learning
from vpstudy.training.prompt_learning.tasks import Task

MOMENTUM = 0.9
WARM_UP_RATE = 1e-5 / 2e-3  # share of the learning rate in the first epoch


@dataclass(frozen=True)
class Step:
    """One batch: features (B, E), texts (K, E) or (B, K, E), logits (B, K) and their cross-entropy."""

    task: Task
    features: Tensor
    texts: Tensor
    logits: Tensor
    loss: Tensor

    def logits_of(self, texts: Tensor) -> Tensor:
        """Logits (B, K) with other texts (K, E)."""
        return logits_from(self.features, texts, self.task.scale)


@dataclass
class Learned:
    """A learned prompt and its training history."""

    prompt: TextPrompt
    logits: dict[str, Tensor]  # (N, K) of "validation", "base" and "new"
    # epoch, and accuracy on validation, base and new; the test accuracies choose nothing
    curve: list[dict[str, float]] = field(default_factory=list)
    contexts: list[Tensor] = field(default_factory=list)  # full precision (M, width), at the start and each evaluation
    quantizer: Quantizer | None = None
    meta: Network | None = None


class Noisy(nn.Module):
    """A parametrization that adds noise to values."""

    def __init__(self, values: Tensor, noise: Noise):
        super().__init__()
        first = values.std(correction=0)
        self._deviation, self._fixed = noise.deviation * first.item(), noise.fixed
        self._first = first if noise.grows else None
        self._draw = torch.Generator().manual_seed(noise.seed)
        self.register_buffer("offset", self._drawn(values))

    def _drawn(self, values: Tensor) -> Tensor:
        return self._deviation * torch.randn(values.shape, generator=self._draw).to(values)

    def forward(self, values: Tensor) -> Tensor:
        if not (self._fixed or self.training):
            return values
        noise = self.offset if self._fixed else self._drawn(values)
        return values + (noise if self._first is None else noise * values.detach().std(correction=0) / self._first)


def epochs(
    trained: list[Tensor],
    examples: tuple[Tensor, Tensor],
    settings: Learning,
    seed: int,
    step: Callable[[Tensor, Tensor], tuple[Tensor, Callable[[], None]]],
    stepped: Callable[[], None] = lambda: None,
    warm_up: float = WARM_UP_RATE,
) -> Iterator[tuple[int, float, bool]]:
    """Train by SGD; after each epoch yield its number, its mean loss, and whether to evaluate.

    `examples` are inputs (N, …) and labels (N,). `step` maps those of a batch to the loss and a function that computes
    the gradients; `stepped` is called after each step. `warm_up` is the share of the learning rate in the first epoch.
    Raises Diverged if the loss is not finite.
    """
    s, (inputs, labels) = settings, examples
    optimizer = torch.optim.SGD(trained, s.learning_rate, momentum=MOMENTUM, weight_decay=s.weight_decay)
    evaluated = evenly_spaced(s.epochs, s.evaluations)
    order = generator("prompt order", seed)
    for epoch in range(1, s.epochs + 1):
        # As in CoOp's code, the constant epoch of warm-up is no step of the cosine, which never reaches its end.
        share = warm_up if epoch == 1 else (1 + math.cos(math.pi * (epoch - 2) / s.epochs)) / 2
        optimizer.param_groups[0]["lr"] = share * s.learning_rate
        total = 0.0
        for indices in torch.randperm(len(labels), generator=order).to(labels.device).split(s.batch):
            loss, backward = step(inputs[indices], labels[indices])
            if not torch.isfinite(loss):
                raise Diverged(f"the training loss was {loss.item()}")
            optimizer.zero_grad()
            backward()
            optimizer.step()
            stepped()
            total += loss.item() * len(indices)
        yield epoch, total / len(labels), epoch in evaluated


def learn(tower: Tower, task: Task, variant: Variant, settings: Learning, seed: int) -> Learned:
    """Learn a text prompt for the base classes of a task; keep the last epoch, the best with `stop_early`, or a mean.

    Raises Diverged if the loss is not finite.
    """
    s = settings.model_copy(update=dict(variant.changes))
    start = first_context(tower, s.context, seed_for("context", seed))
    first = start.expand(len(task.base_names), -1, -1) if variant.class_specific else start
    prompt = TextPrompt(tower, task.base_names, first, variant.middle)
    meta, n_features = None, task.train[0].shape[1]
    if variant.network:
        meta = NETWORKS[variant.network](n_features, len(start), tower.width, seed_for("meta", seed))
    plain, quantizer = prompt.context, None
    if variant.quantize:
        quantizer = Quantizer(start, variant.quantize)
        parametrize.register_parametrization(prompt, "context", quantizer)
    if variant.noise:
        parametrize.register_parametrization(prompt, "context", Noisy(start, variant.noise))
    if variant.quantize or variant.noise:
        plain = prompt.parametrizations.context.original
    trained = [plain, *(meta.to(start.device).parameters() if meta else [])]

    def step(features: Tensor, labels: Tensor) -> tuple[Tensor, Callable[[], None]]:
        texts = texts_of(prompt, features, task.hand_written["base"], meta)
        logits = logits_from(features, texts, task.scale)
        this = Step(task, features, texts, logits, F.cross_entropy(logits, labels))
        loss = variant.loss(this) if variant.loss else this.loss
        if not variant.gradients:
            return loss, loss.backward

        def backward() -> None:
            for tensor, gradient in zip(trained, variant.gradients(this, trained), strict=True):
                tensor.grad = gradient

        return loss, backward

    def stepped() -> None:
        if quantizer:
            quantizer.step(plain.detach())

    learned = Learned(prompt, measure(prompt, task, meta), contexts=[start], quantizer=quantizer, meta=meta)
    learned.curve.append({"epoch": 0} | accuracies(learned.logits, task))
    best, mean = None, torch.zeros_like(plain, dtype=torch.float64)
    prompt.train()
    for epoch, _, evaluated in epochs(trained, task.train, s, seed, step, stepped):
        if len(variant.averaged):
            mean += float(variant.averaged[epoch - 1]) * plain.detach().double()
        if evaluated:
            learned.logits = measure(prompt, task, meta)
            learned.curve.append({"epoch": epoch} | accuracies(learned.logits, task))
            learned.contexts.append(plain.detach().clone())
            reached = learned.curve[-1]["validation"]
            if variant.stop_early and (best is None or reached > best[0]):
                best = reached, learned.logits, copy.deepcopy(prompt.state_dict())
    if best:
        learned.logits = best[1]
        prompt.load_state_dict(best[2])
    if len(variant.averaged):
        plain.data.copy_(mean)
        learned.logits = measure(prompt, task, meta)
    prompt.eval().requires_grad_(False)
    return learned
