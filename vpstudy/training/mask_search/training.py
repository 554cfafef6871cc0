"""The training that all pruning methods share: what learns, on which passes, for how many steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vpstudy.compression.learned import LearnedMask
from vpstudy.data.augmentation import shifted
from vpstudy.runtime import Runtime
from vpstudy.training.data import Examples
from vpstudy.training.mask_search.channels import LearnedChannels
from vpstudy.training.mask_search.subnetwork import Subnetwork

MOMENTUM = 0.9
# Where pruning closes a channel, its BatchNorm divides gradients by nearly nothing; one such step would put dead
# weights on top of all others, for good. The paper clips so in its structured variant.
CLIP = 0.25
Learning = Literal["weights", "scores", "both", "prompt"]
Passes = Literal["augmented", "alternating", "prompted"]


class Diverged(Exception):
    """Training left the finite numbers; a result, not a programming error."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with fixed settings.

    Attributes
    ----------
    learns
        "weights" (all but those that a mask prunes), "scores" of a learned mask, "both" in turn, weights first (BiP's
        two levels), or the "prompt" alone. A prompt learns with weights and scores wherever a pass is prompted.
    passes
        "augmented": every step without the prompt, on moved pictures. "alternating", as VPNs do it: every other step,
        from the first one on, with the prompt and on pictures as they are. "prompted": every step as those.
    steps
        Of an optimizer; a forward and a backward pass over a batch each.
    weights, scores, prompt
        Learning rates at the start; each falls to zero along a cosine.
    slimming
        Weight of the L1 norm of all BatchNorm factors in the loss.
    sgd
        Train scores by SGD with momentum, as weights always are. Else by Adam, as prompts always are.
    weight_decay
        Of weights. Scores and prompts have none: Adam would turn a decay of any size into steps of full size, where
        gradients are zero, as those of most scores are.
    """

    learns: Learning
    passes: Passes
    steps: int
    weights: float
    scores: float
    prompt: float
    sgd: bool = False
    weight_decay: float = 0.0
    batch: int = 64
    shift: int = 0
    slimming: float = 0.0


def train(
    network: Subnetwork,
    examples: Examples,
    phase: Phase,
    order: torch.Generator,
    runtime: Runtime,
    learned: LearnedMask | LearnedChannels | None = None,
) -> None:
    """Train `network` in place; its last state is the result. What does not learn is bit for bit what it was.

    BatchNorm takes the statistics of its batch, and its running ones follow, whatever learns.

    Parameters
    ----------
    examples
        uint8 pictures.
    learned
        The mask whose scores learn.

    Raises
    ------
    Diverged
        If the loss or a score is not finite.
    """
    network.train()
    scores = learned.scores if learned else []
    of_scores = {id(parameter) for parameter in scores}
    weights = [parameter for parameter in network.backbone.parameters() if id(parameter) not in of_scores]
    prompt = list(network.prompt.parameters()) if network.prompt else []
    learns = {"weights": weights, "scores": scores, "both": weights + scores, "prompt": []}[phase.learns]
    prompt = prompt if phase.passes != "augmented" else []
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for parameter in learns + prompt:
        parameter.requires_grad_(True)
    optimizers: dict[str, torch.optim.Optimizer] = {}
    if phase.learns in ("weights", "both"):
        decay = phase.weight_decay
        optimizers["weights"] = torch.optim.SGD(weights, phase.weights, momentum=MOMENTUM, weight_decay=decay)
    if phase.learns in ("scores", "both") and phase.sgd:
        optimizers["scores"] = torch.optim.SGD(scores, phase.scores, momentum=MOMENTUM)
    elif phase.learns in ("scores", "both"):
        optimizers["scores"] = torch.optim.Adam(scores, phase.scores)
    if prompt:
        optimizers["prompt"] = torch.optim.Adam(prompt, phase.prompt)
    norms = [m for m in network.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    starts = {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}
    for step, (pictures, labels) in zip(range(phase.steps), _batches(examples, phase.batch, order), strict=False):
        prompted = phase.passes == "prompted" or (phase.passes == "alternating" and step % 2 == 0)
        turn = ("weights", "scores")[step % 2] if phase.learns == "both" else phase.learns
        if not prompted:
            pictures = shifted(pictures, phase.shift, order)
        with runtime.autocast():
            loss = network.loss(pictures.float() / 255, labels, prompted)
        if phase.slimming:
            loss = loss + phase.slimming * sum(norm.weight.abs().sum() for norm in norms)
        if not torch.isfinite(loss):
            raise Diverged(f"the training loss was {loss.item()} at step {step + 1} of {phase.steps}")
        network.zero_grad()
        loss.backward()
        if turn == "scores":
            nn.utils.clip_grad_norm_(scores, CLIP)
        for name in {turn: 0, "prompt": 0} if prompted else {turn: 0}:
            if name in optimizers:
                optimizers[name].param_groups[0]["lr"] = starts[name] * (1 + math.cos(math.pi * step / phase.steps)) / 2
                optimizers[name].step()
        if turn == "scores":
            try:
                learned.update()
            except ValueError as error:
                raise Diverged(f"{error} (step {step + 1} of {phase.steps})") from None
    if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
        raise Diverged("a weight is not finite after training")
    network.eval().requires_grad_(False)


def _batches(examples: Examples, batch: int, order: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches without an end, of one size or one apart, reshuffled whenever every example was seen."""
    parts = -(-len(examples) // batch)
    while True:
        for indices in torch.randperm(len(examples), generator=order).tensor_split(parts):
            indices = indices.to(examples.labels.device)
            yield examples.inputs[indices], examples.labels[indices]
