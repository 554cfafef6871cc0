"""One seed of a prompter, and the kinds of arms it can make."""

from functools import cached_property

import torch
from torch import Tensor

from vpstudy.models.sentence_tower import Tower
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.text import Network, TextPrompt, described, first_context
from vpstudy.runtime import seed_for
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning.learning import learn
from vpstudy.training.prompt_learning.measuring import measure
from vpstudy.training.prompt_learning.prompters.base import Arm, Variant
from vpstudy.training.prompt_learning.settings import Learning
from vpstudy.training.prompt_learning.tasks import Task, templates

PUBLISHED_WIDTH = 512  # of the published CLIP's text tower


class Trial:
    """Pictures, start and order that the arms of a prompter share for one seed; `own` are its own settings.

    `checkpoint` names the model, for random draws that should not repeat between checkpoints.
    """

    def __init__(self, tower: Tower, task: Task, settings: Learning, seed: int, checkpoint: str, own=None):
        self.tower, self.task, self.settings, self.seed, self.own = tower, task, settings, seed, own
        self.checkpoint = checkpoint

    def seed_for(self, purpose: str) -> int:
        """A seed of this checkpoint and seed."""
        return seed_for(purpose, self.checkpoint, self.seed)

    @cached_property
    def start(self) -> Tensor:
        """The context (M, width) before training."""
        return first_context(self.tower, self.settings.context, seed_for("context", self.seed))

    @cached_property
    def frozen(self) -> dict[str, Tensor]:
        """Zero-shot features (K, E) of "base" and "new", averaged over all templates."""
        names = {"base": self.task.base_names, "new": self.task.new_names}
        return {group: described(self.tower, of, templates(self.tower)) for group, of in names.items()}

    def error(self, bits: int) -> float:
        """RMS error of quantizing the start, in units of its deviation; at one bit 0.603 if Gaussian (Max, 1960)."""
        error = Quantizer(self.start, Settings(bits))(self.start) - self.start
        return float(error.square().mean().sqrt() / self.start.std(correction=0))

    def trained(self, name: str, variant: Variant | None = None) -> Arm:
        """Train a prompt. A diverged training gives an arm with a reason and no logits."""
        variant = variant or Variant()
        bits = variant.quantize.bits if variant.quantize else None
        try:
            learned = learn(self.tower, self.task, variant, self.settings, self.seed)
        except Diverged as error:
            return Arm(name, self.seed, bits=bits, reason=str(error))
        used, meta = learned.prompt.context.detach().clone(), learned.meta
        return Arm(
            name,
            self.seed,
            learned.logits,
            bits,
            used.numel() + (sum(p.numel() for p in meta.parameters()) if meta else 0),
            used.shape[:-1].numel() * PUBLISHED_WIDTH + _published(meta),
            used,
            self.start,
            learned,
            learned.quantizer.packed(learned.contexts[-1]) if learned.quantizer else None,
        )

    def quantized(self, name: str, context: Tensor | None, bits: int, reason: str | None = None) -> Arm:
        """Quantize a context (M, width) without training. With a `reason` there is no context."""
        if reason:
            return Arm(name, self.seed, reason=reason)
        by = Quantizer(context, self.settings.quantizer(bits))
        with torch.no_grad():
            used = by(context)
        sizes = used.numel(), len(used) * PUBLISHED_WIDTH
        return Arm(name, self.seed, self.measured(used), bits, *sizes, used, self.start, packed=by.packed(context))

    def untrained(self, name: str) -> Arm:
        """The start, unchanged; nothing is stored."""
        return Arm(name, self.seed, self.measured(self.start), used=self.start, start=self.start)

    def all_templates(self, name: str) -> Arm:
        """Class texts averaged over all templates."""
        logits = {group: self.task.scale * self.task.test[group][0] @ of.T for group, of in self.frozen.items()}
        return Arm(name, self.seed, logits)

    def measured(self, context: Tensor) -> dict[str, Tensor]:
        """Logits of "validation", "base" and "new" with a context (M, width)."""
        return measure(TextPrompt(self.tower, self.task.base_names, context).eval(), self.task)


def _published(meta: Network | None) -> int:
    """Weights of a network at the width of CLIP's own text tower."""
    width = PUBLISHED_WIDTH
    return meta.count(width, meta.n_context, width) if meta else 0
