"""Learning text prompts on features of frozen pictures: CoOp and its kin, with quantization or noise in between."""

import copy
import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.text import MetaNetwork, TextPrompt
from vpstudy.runtime import generator, seed_for
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning.settings import PromptLearning

MOMENTUM = 0.9
WARM_UP_RATE = 1e-5 / 2e-3  # of the rate, in the first epoch
Loss = Literal["coop", "cocoop", "kgcoop", "prograd"]


@dataclass(frozen=True)
class Task:
    """Base and new classes of a target, and the features (N, E) of their pictures, of unit length, for one seed.

    Labels count within base and within new.
    """

    base_names: list[str]
    new_names: list[str]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: dict[str, tuple[Tensor, Tensor]]  # "base" and "new"
    hand_written: dict[str, Tensor]  # zero-shot features (K, E) of "base" and "new"
    scale: float  # of logits


@dataclass(frozen=True)
class Variant:
    """One way to learn a prompt.

    Attributes
    ----------
    quantize
        Train through this quantizer (quantization-aware training).
    noise
        Standard deviation of Gaussian noise on the prompt, in units of its initial deviation.
    fixed
        The noise is drawn once and stays, in evaluation too; else anew at each step, and evaluation is clean.
    stop_early
        Keep the epoch of the best accuracy on base validation.
    """

    loss: Loss = "coop"
    quantize: Settings | None = None
    noise: float = 0.0
    fixed: bool = False
    stop_early: bool = False
    weight_decay: float | None = None


@dataclass
class Learned:
    """A learned prompt and what was seen on the way.

    Attributes
    ----------
    logits
        (N, K) of "validation", "base" and "new".
    curve
        epoch, accuracy on validation, base and new; the test curves are diagnostics that choose nothing.
    contexts
        The prompt in full, (M, width), at the start and at each evaluation.
    """

    prompt: TextPrompt
    logits: dict[str, Tensor]
    curve: list[dict[str, float]] = field(default_factory=list)
    contexts: list[Tensor] = field(default_factory=list)
    quantizer: Quantizer | None = None
    meta: MetaNetwork | None = None


class Noise(nn.Module):
    """A parametrization that adds Gaussian noise: drawn once and kept, or anew at each training step alone."""

    def __init__(self, values: Tensor, deviation: float, fixed: bool, seed: int):
        super().__init__()
        self._deviation, self._fixed = deviation, fixed
        self._draw = torch.Generator().manual_seed(seed)
        self.register_buffer("offset", self._drawn(values))

    def _drawn(self, values: Tensor) -> Tensor:
        return self._deviation * torch.randn(values.shape, generator=self._draw).to(values)

    def forward(self, values: Tensor) -> Tensor:
        if self._fixed:
            return values + self.offset
        return values + self._drawn(values) if self.training else values


def learn(tower: nn.Module, task: Task, variant: Variant, settings: PromptLearning, seed: int) -> Learned:
    """Learn a prompt for the base classes of a task.

    SGD with momentum, one epoch of warm-up, then a cosine. The last epoch is kept, but where `stop_early`.

    Raises
    ------
    Diverged
        If the loss is not finite.
    """
    s, cocoop = settings, variant.loss == "cocoop"
    prompt = TextPrompt(tower, task.base_names, s.n_context, words=s.words, seed=seed_for("context", seed))
    meta = MetaNetwork(task.train[0].shape[1], tower.width, seed_for("meta", seed)) if cocoop else None
    start = prompt.context.detach().clone()
    plain, quantizer = prompt.context, None
    if variant.quantize:
        quantizer = Quantizer(start, variant.quantize)
        parametrize.register_parametrization(prompt, "context", quantizer)
    if variant.noise:
        deviation = variant.noise * start.std(correction=0).item()
        noise = Noise(start, deviation, variant.fixed, seed_for("noise", seed))
        parametrize.register_parametrization(prompt, "context", noise)
    if variant.quantize or variant.noise:
        plain = prompt.parametrizations.context.original
    trained = [plain, *(meta.parameters() if meta else [])]
    decay = s.weight_decay if variant.weight_decay is None else variant.weight_decay
    optimizer = torch.optim.SGD(trained, s.learning_rate, momentum=MOMENTUM, weight_decay=decay)
    epochs, batch = (s.cocoop_epochs, s.cocoop_batch) if cocoop else (s.epochs, s.batch)
    measured = {math.ceil(epochs * k / s.evaluations) for k in range(1, s.evaluations + 1)}
    learned = Learned(prompt, {}, contexts=[start], quantizer=quantizer, meta=meta)
    learned.curve.append(_entry(0, measure(prompt, task, meta), task))
    best, order = None, generator("prompt order", seed)
    features, labels = task.train
    for epoch in range(1, epochs + 1):
        share = WARM_UP_RATE if epoch == 1 else (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
        optimizer.param_groups[0]["lr"] = share * s.learning_rate
        prompt.train()
        for indices in torch.randperm(len(labels), generator=order).split(batch):
            _step(optimizer, trained, prompt, meta, features[indices], labels[indices], task, variant, s)
            if quantizer:
                quantizer.step(plain.detach())
        if epoch in measured:
            learned.logits = measure(prompt, task, meta)
            entry = _entry(epoch, learned.logits, task)
            learned.curve.append(entry)
            learned.contexts.append(plain.detach().clone())
            if variant.stop_early and (best is None or entry["validation"] > best[0]):
                best = entry["validation"], learned.logits, copy.deepcopy(prompt.state_dict())
    if best:
        learned.logits = best[1]
        prompt.load_state_dict(best[2])
    prompt.eval().requires_grad_(False)
    return learned


def _step(optimizer, trained, prompt, meta, features, labels, task: Task, variant: Variant, s: PromptLearning) -> None:
    texts = prompt(meta(features)) if meta else prompt()
    logits = _logits(features, texts, task.scale)
    loss = F.cross_entropy(logits, labels)
    if variant.loss == "kgcoop":
        loss = loss + s.kgcoop_weight * (1 - (texts * task.hand_written["base"]).sum(1)).mean()
    if not torch.isfinite(loss):
        raise Diverged(f"the training loss was {loss.item()}")
    optimizer.zero_grad()
    if variant.loss == "prograd":
        general = _logits(features, task.hand_written["base"], task.scale).softmax(1)
        knowledge = F.kl_div(logits.log_softmax(1), general, reduction="batchmean")
        of_task = torch.autograd.grad(loss, trained, retain_graph=True)
        of_knowledge = torch.autograd.grad(knowledge, trained)
        for parameter, one, other in zip(trained, of_task, of_knowledge, strict=True):
            parameter.grad = aligned(one, other, s.prograd_share)
    else:
        loss.backward()
    optimizer.step()


def aligned(gradient: Tensor, knowledge: Tensor, share: float) -> Tensor:
    """ProGrad's (Zhu et al., ICCV 2023): a gradient without `share` of the part that goes against `knowledge`."""
    along = (gradient * knowledge).sum()
    if along >= 0 or not knowledge.any():
        return gradient
    return gradient - share * along / knowledge.square().sum() * knowledge


@torch.no_grad()
def measure(prompt: TextPrompt, task: Task, meta: MetaNetwork | None = None, batch: int = 100) -> dict[str, Tensor]:
    """Logits of "validation", "base" and "new" with the prompt as it is."""
    training = prompt.training
    prompt.eval()
    new = TextPrompt(prompt.tower, task.new_names, prompt.n_context)
    new.context.copy_(prompt.context)
    found = {}
    for part, of in (("validation", prompt), ("base", prompt), ("new", new)):
        features = task.validation[0] if part == "validation" else task.test[part][0]
        if meta is None:
            found[part] = _logits(features, of(), task.scale)
        else:
            found[part] = torch.cat([_logits(c, of(meta(c)), task.scale) for c in features.split(batch)])
    prompt.train(training)
    return found


def _entry(epoch: int, logits: dict[str, Tensor], task: Task) -> dict[str, float]:
    return {"epoch": epoch} | {part: _accuracy(of, _labels(task, part)) for part, of in logits.items()}


def with_context(tower: nn.Module, task: Task, context: Tensor) -> TextPrompt:
    """A prompt for the base classes that holds `context` (M, width)."""
    prompt = TextPrompt(tower, task.base_names, len(context))
    prompt.context.data = context.detach().clone()
    return prompt.eval().requires_grad_(False)


def _labels(task: Task, part: str) -> Tensor:
    return task.validation[1] if part == "validation" else task.test[part][1]


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).float().mean().item()


def _logits(features: Tensor, texts: Tensor, scale: float) -> Tensor:
    """(N, K) from features (N, E) and texts (K, E), or (N, K, E) where each picture has texts of its own."""
    return scale * (features @ texts.T if texts.dim() == 2 else (features[:, None] * texts).sum(2))
