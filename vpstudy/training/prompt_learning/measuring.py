"""Texts, logits and accuracies of text prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vpstudy.prompts.text import Network, TextPrompt
from vpstudy.training.prompt_learning.tasks import Task


@torch.no_grad()
def measure(prompt: TextPrompt, task: Task, meta: Network | None = None, batch: int = 100) -> dict[str, Tensor]:
    """Logits (N, K) of "validation", "base" and "new" with the current prompt; no "new" if each class has a context."""
    training = prompt.training
    prompt.eval()
    groups = {"base": (prompt, ("validation", "base"))}
    if prompt.context.dim() == 2:  # else there is one for each base class
        groups["new"] = TextPrompt(prompt.tower, task.new_names, prompt.context, bool(prompt.behind)), ("new",)
    logits = {}
    for group, (of, parts) in groups.items():
        seen = [task.parts[part][0] for part in parts]
        logits |= zip(parts, logits_of(of, seen, task.hand_written[group], task.scale, meta, batch), strict=True)
    prompt.train(training)
    return logits


def logits_of(
    prompt: TextPrompt,
    parts: Sequence[Tensor],
    written: Tensor,
    scale: float,
    meta: Network | None = None,
    batch: int = 100,
) -> list[Tensor]:
    """Logits (N, K) of each of some sets of features (N, E); `written` (K, E) are hand-written texts of the classes."""
    if meta and meta.of_pictures:
        each = [[logits_from(f, texts_of(prompt, f, written, meta), scale) for f in of.split(batch)] for of in parts]
        return [torch.cat(logits) for logits in each]
    texts = texts_of(prompt, parts[0], written, meta)  # the same for all pictures
    return [logits_from(of, texts, scale) for of in parts]


def texts_of(prompt: TextPrompt, features: Tensor, written: Tensor, meta: Network | None = None) -> Tensor:
    """Texts (K, E), or (N, K, E) where a network shifts the context by each picture's features (N, E)."""
    if meta is None:
        return prompt()
    return prompt(meta(features if meta.of_pictures else written))


def accuracies(logits: dict[str, Tensor], task: Task) -> dict[str, float]:
    """Accuracy on each part of the task."""
    return {part: (of.argmax(1) == task.parts[part][1]).float().mean().item() for part, of in logits.items()}


def logits_from(features: Tensor, texts: Tensor, scale: float) -> Tensor:
    """Logits (N, K) from features (N, E) and texts (K, E), or (N, K, E) if each picture has its own."""
    return scale * (features @ texts.T if texts.dim() == 2 else (features[:, None] * texts).sum(2))
