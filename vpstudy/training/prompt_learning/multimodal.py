"""Learning multi-modal prompts: the image tower is prompted too, so pictures pass through it at every step."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor
from torch.nn.utils import parametrize

from vpstudy.prompts.multimodal import MultimodalPrompt, QuantizedWeights, first_weights, quantize
from vpstudy.prompts.quantized import Settings
from vpstudy.runtime import Runtime, seed_for
from vpstudy.training.prompt_learning.learning import accuracies, epochs
from vpstudy.training.prompt_learning.settings import MultimodalLearning
from vpstudy.training.prompt_learning.tasks import Task

WARM_UP_RATE = 1e-5 / 3.5e-3  # share of the learning rate in the first epoch


@dataclass
class LearnedMultimodal:
    """A learned prompt and its training history."""

    prompt: MultimodalPrompt  # for the base classes
    logits: dict[str, Tensor] = field(default_factory=dict)  # (N, K) of "validation", "base" and "new"
    # epoch, and accuracy on validation, base and new; the test accuracies choose nothing
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # mean of each epoch
    quantized: QuantizedWeights | None = None


def learn_multimodal(
    clip: CLIP | CustomTextCLIP,
    task: Task,
    normalise: Callable[[Tensor], Tensor],
    settings: MultimodalLearning,
    seed: int,
    bits: Settings | None = None,
    runtime: Runtime | None = None,
) -> LearnedMultimodal:
    """Learn a prompt for the base classes of a task by cross-entropy; keep the last epoch.

    `clip` is on the device of the task and is put in evaluation mode. `task` holds pictures in place of features, and
    `normalise` maps them (N, 3, H, W) to the image tower's input; where pictures take no prompt, features stay. With
    `bits`, training runs through codebooks (quantization-aware training). Raises ValueError if the towers do not allow
    the prompt (see `first_weights`), and Diverged if the loss is not finite.
    """
    clip.eval().requires_grad_(False)
    weights = first_weights(clip, settings.context, settings.depth, seed_for("context", seed), task.base_names)
    learned = LearnedMultimodal(prompt := MultimodalPrompt(clip, task.base_names, weights, runtime))
    if bits:
        learned.quantized = quantize(prompt, bits)

    def step(pictures: Tensor, labels: Tensor) -> tuple[Tensor, Callable[[], None]]:
        with parametrize.cached():  # both towers use the weights: quantize them once a step
            logits = task.scale * prompt.image(normalise(pictures)) @ prompt.text().T
            loss = F.cross_entropy(logits, labels)
        return loss, loss.backward

    stepped = learned.quantized.step if learned.quantized else lambda: None
    trained = list(prompt.parameters())
    for epoch, loss, evaluated in epochs(trained, task.train, settings, seed, step, stepped, WARM_UP_RATE):
        learned.losses.append(loss)
        if evaluated:
            learned.logits = measure(prompt, task, normalise)
            learned.curve.append({"epoch": epoch} | accuracies(learned.logits, task))
    prompt.requires_grad_(False)
    return learned


@torch.no_grad()
def measure(
    prompt: MultimodalPrompt, task: Task, normalise: Callable[[Tensor], Tensor], batch: int = 256
) -> dict[str, Tensor]:
    """Logits (N, K) of "validation", "base" and "new" with the current prompt."""
    of_base, of_new = prompt.text(), prompt.for_classes(task.new_names).text()
    logits = {}
    for part, (pictures, _) in task.parts.items():
        images = torch.cat([prompt.image(normalise(chunk)) for chunk in pictures.split(batch)])
        logits[part] = task.scale * images @ (of_new if part == "new" else of_base).T
    return logits
