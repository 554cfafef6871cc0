"""Learning multi-modal prompts: the prompt enters the image tower too, so that pictures pass it at every step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor
from torch.nn.utils import parametrize

from vpstudy.prompts.multimodal import MultimodalPrompt
from vpstudy.prompts.multimodal_quantized import Per, QuantizedWeights, check_per, quantize
from vpstudy.prompts.quantized import Settings
from vpstudy.runtime import generator, seed_for
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning.learning import MOMENTUM, Task

WARM_UP_RATE = 1e-5 / 3.5e-3  # of the rate, in the first epoch
PARTS = ("validation", "base", "new")


@dataclass(frozen=True)
class MultimodalSettings:
    """How a multi-modal prompt is learned; MaPLe's own are the defaults.

    Attributes
    ----------
    words
        That the context starts from, of `n_context` tokens; None: drawn at random.
    learning_rate
        Of SGD with momentum 0.9: one epoch of warm-up, then a cosine.
    evaluations
        Evenly spaced epochs at which base and new are measured.
    """

    n_context: int = 2
    words: str | None = "a photo"
    depth: int = 9
    epochs: int = 5
    batch: int = 4
    learning_rate: float = 0.0035
    weight_decay: float = 5e-4
    evaluations: int = 5

    def __post_init__(self):
        if min(self.epochs, self.batch, self.evaluations) < 1 or not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError(
                f"epochs={self.epochs}, batch={self.batch}, evaluations={self.evaluations}, learning_rate="
                f"{self.learning_rate}, weight_decay={self.weight_decay}: give counts of at least 1, a rate above 0 "
                "and a decay of at least 0"
            )


@dataclass
class LearnedMultimodal:
    """A learned prompt and what was seen on the way.

    Attributes
    ----------
    prompt
        For the base classes, without gradients.
    logits
        (N, K) of "validation", "base" and "new", after the last epoch.
    curve
        epoch, accuracy on validation, base and new; the test curves are diagnostics that choose nothing.
    losses
        The mean loss of each epoch.
    quantized
        The codebooks, where there are some.
    """

    prompt: MultimodalPrompt
    logits: dict[str, Tensor] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    quantized: QuantizedWeights | None = None


def learn_multimodal(
    clip: CLIP | CustomTextCLIP,
    task: Task,
    normalise: Callable[[Tensor], Tensor],
    settings: MultimodalSettings,
    seed: int,
    *,
    bits: Settings | None = None,
    per: Per = "tensor",
) -> LearnedMultimodal:
    """Learn a prompt for the base classes of a task by cross-entropy. The last epoch is kept.

    Parameters
    ----------
    clip
        On the device of the task; it is put in evaluation mode and stays as it is otherwise.
    task
        With pictures where other tasks have features, as `tasks.base_to_new` makes it from `target.pictures`.
    normalise
        From pictures of the task (N, 3, H, W) to what the image tower takes.
    bits
        Train through codebooks (quantization-aware training), one for each kind of tensor or for each layer: `per`.

    Raises
    ------
    ValueError
        If the towers do not allow the prompt; see `MultimodalPrompt`.
    Diverged
        If the loss is not finite.
    """
    check_per(per)
    s = settings
    clip.eval().requires_grad_(False)
    prompt = MultimodalPrompt(
        clip, task.base_names, s.n_context, s.depth, words=s.words, seed=seed_for("context", seed)
    )
    learned = LearnedMultimodal(prompt, quantized=quantize(prompt, bits, per) if bits else None)
    optimizer = torch.optim.SGD(prompt.parameters(), s.learning_rate, momentum=MOMENTUM, weight_decay=s.weight_decay)
    measured = {math.ceil(s.epochs * k / s.evaluations) for k in range(1, s.evaluations + 1)}
    order = generator("prompt order", seed)
    for epoch in range(1, s.epochs + 1):
        share = WARM_UP_RATE if epoch == 1 else (1 + math.cos(math.pi * (epoch - 1) / s.epochs)) / 2
        optimizer.param_groups[0]["lr"] = share * s.learning_rate
        learned.losses.append(_epoch(learned, optimizer, task, normalise, s.batch, order))
        if epoch in measured:
            learned.logits = measure(prompt, task, normalise)
            accuracies = {part: _accuracy(logits, _part(task, part)[1]) for part, logits in learned.logits.items()}
            learned.curve.append({"epoch": epoch} | accuracies)
    prompt.requires_grad_(False)
    return learned


def _epoch(learned, optimizer, task: Task, normalise, batch: int, order: torch.Generator) -> float:
    """The mean loss of an epoch of training."""
    (pictures, labels), prompt, total = task.train, learned.prompt, 0.0
    for indices in torch.randperm(len(labels), generator=order).split(batch):
        chosen = indices.to(labels.device)
        with parametrize.cached():  # both towers use the weights: quantize them once a step
            logits = task.scale * prompt.image(normalise(pictures[chosen])) @ prompt.text().T
            loss = F.cross_entropy(logits, labels[chosen])
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss was {loss.item()}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if learned.quantized:
            learned.quantized.step()
        total += loss.item() * len(indices)
    return total / len(labels)


@torch.no_grad()
def measure(
    prompt: MultimodalPrompt, task: Task, normalise: Callable[[Tensor], Tensor], batch: int = 256
) -> dict[str, Tensor]:
    """Logits (N, K) of "validation", "base" and "new" with the prompt as it is."""
    of_base, of_new = prompt.text(), prompt.for_classes(task.new_names).text()
    found = {}
    for part in PARTS:
        texts = of_new if part == "new" else of_base
        images = [prompt.image(normalise(chunk)) for chunk in _part(task, part)[0].split(batch)]
        found[part] = task.scale * torch.cat(images) @ texts.T
    return found


def _part(task: Task, part: str) -> tuple[Tensor, Tensor]:
    return task.validation if part == "validation" else task.test[part]


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).float().mean().item()
