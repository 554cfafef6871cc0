"""Texts, logits and accuracies of text prompts."""

import torch
from torch import Tensor

from vpstudy.prompts.text import Network, TextPrompt
from vpstudy.training.prompt_learning.tasks import Task


@torch.no_grad()
def measure(prompt: TextPrompt, task: Task, meta: Network | None = None, batch: int = 100) -> dict[str, Tensor]:
    """Logits (N, K) of "validation", "base" and "new" with the current prompt."""
    training = prompt.training
    prompt.eval()
    new = TextPrompt(prompt.tower, task.new_names, prompt.context)
    logits = {}
    for part, (features, _) in task.parts.items():
        of, written = (new, task.hand_written["new"]) if part == "new" else (prompt, task.hand_written["base"])
        logits[part] = logits_of(of, features, written, task.scale, meta, batch)
    prompt.train(training)
    return logits


def logits_of(
    prompt: TextPrompt,
    features: Tensor,
    written: Tensor,
    scale: float,
    meta: Network | None = None,
    batch: int = 100,
) -> Tensor:
    """Logits (N, K) of features (N, E); `written` (K, E) are the hand-written texts of the prompt's classes."""
    parts = features.split(batch) if meta and meta.of_pictures else [features]
    return torch.cat([logits_from(each, texts_of(prompt, each, written, meta), scale) for each in parts])


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
