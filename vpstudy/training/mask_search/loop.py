"""The training loop that all pruning methods share: what is trained, on which passes, for how many steps."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, Optimizer

from vpstudy.compression.learned import LearnedSelection
from vpstudy.data.augmentation import shifted
from vpstudy.runtime import Runtime
from vpstudy.training.data import Examples
from vpstudy.training.mask_search.settings import MaskSearch
from vpstudy.training.mask_search.subnetwork import Subnetwork

MOMENTUM = 0.9
# Where pruning closes a channel, its BatchNorm divides gradients by nearly nothing; one such step would put dead
# weights on top of all others, for good. The paper clips so in its structured variant.
CLIP = 0.25
Learning = Literal["weights", "scores", "both", "prompt"]
Passes = Literal["augmented", "alternating", "prompted"]


class Diverged(Exception):
    """Training left the finite numbers; a result, not a programming error."""


def train(
    network: Subnetwork,
    examples: Examples,
    settings: MaskSearch,
    order: torch.Generator,
    runtime: Runtime,
    *,
    learns: Learning,
    passes: Passes,
    steps: int,
    learned: LearnedSelection | None = None,
    factor: float = 1.0,
    sgd: float | None = None,
    score_rate: float | None = None,
    l1: float = 0.0,
) -> None:
    """Train `network` in place; its last state is the result. Whatever is not trained keeps its bits.

    Learning rates fall to zero along a cosine. BatchNorm uses the statistics of its batch, and updates its running
    ones, whatever is trained. Only weights decay: Adam turns a decay of any size into full steps where gradients are
    zero, as those of most scores are.

    Parameters
    ----------
    examples
        uint8 pictures.
    learns
        "weights" (all but those that a mask prunes), "scores" of `learned`, "both" in turn, weights first (BiP's two
        levels), or the "prompt" alone. A prompt is trained with weights and scores wherever a pass is prompted.
    passes
        "augmented": every step without the prompt, on shifted pictures. "alternating", VPNs' own: every other step,
        the first included, with the prompt and on unchanged pictures. "prompted": every step like those.
    steps
        Optimizer steps, each a forward and a backward pass over a batch.
    learned
        The mask whose scores are trained.
    factor
        Of all learning rates.
    sgd
        Train scores by SGD with momentum, as weights always are, at this rate. Else by Adam, as prompts always are.
    score_rate
        Of Adam for scores, in place of that in `settings`.
    l1
        Weight of the L1 norm of all BatchNorm factors in the loss.

    Raises
    ------
    Diverged
        If the loss, a score or a weight is not finite.
    """
    network.train()
    scores = learned.scores if learned else []
    of_scores = set(map(id, scores))
    weights = [parameter for parameter in network.backbone.parameters() if id(parameter) not in of_scores]
    network.requires_grad_(False)
    optimizers: dict[str, Optimizer] = {}
    if learns in ("weights", "both"):
        rate, decay = factor * settings.weight_rate, settings.weight_decay
        optimizers["weights"] = SGD(_trained(weights), rate, momentum=MOMENTUM, weight_decay=decay)
    if learns in ("scores", "both") and sgd:
        optimizers["scores"] = SGD(_trained(scores), factor * sgd, momentum=MOMENTUM)
    elif learns in ("scores", "both"):
        optimizers["scores"] = Adam(_trained(scores), factor * (score_rate or settings.score_rate))
    if network.prompt and passes != "augmented":
        optimizers["prompt"] = Adam(_trained(network.prompt.parameters()), factor * settings.prompt_rate)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}
    norms = [m for m in network.backbone.modules() if isinstance(m, _BatchNorm)]
    for step, (pictures, labels) in zip(range(steps), _batches(examples, settings.batch, order), strict=False):
        prompted = passes == "prompted" or (passes == "alternating" and step % 2 == 0)
        turn = ("weights", "scores")[step % 2] if learns == "both" else learns
        if not prompted:
            pictures = shifted(pictures, settings.shift, order)
        with runtime.autocast():
            loss = network.loss(pictures.float() / 255, labels, prompted)
        if l1:
            loss = loss + l1 * sum(norm.weight.abs().sum() for norm in norms)
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss was {loss.item()} at step {step + 1} of {steps}")
        network.zero_grad()
        loss.backward()
        if turn == "scores":
            nn.utils.clip_grad_norm_(scores, CLIP)
        for name in {turn, "prompt"} if prompted else {turn}:
            if name in optimizers:
                optimizers[name].param_groups[0]["lr"] = rates[name] * (1 + math.cos(math.pi * step / steps)) / 2
                optimizers[name].step()
        if turn == "scores":
            try:
                learned.update()
            except ValueError as error:
                raise Diverged(f"{error} (step {step + 1} of {steps})") from None
    if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
        raise Diverged("a weight is not finite after training")
    network.eval().requires_grad_(False)


def _trained(parameters) -> list[nn.Parameter]:
    return [parameter.requires_grad_(True) for parameter in parameters]


def _batches(examples: Examples, batch: int, order: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches whose sizes differ by one at most, without end, reshuffled after each pass through the examples."""
    parts = -(-len(examples) // batch)
    while True:
        for indices in torch.randperm(len(examples), generator=order).tensor_split(parts):
            indices = indices.to(examples.labels.device)
            yield examples.inputs[indices], examples.labels[indices]
