"""The training loop of all pruning methods."""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, Optimizer

from vpstudy.data.augmentation import shifted
from vpstudy.runtime import Runtime
from vpstudy.training.data import Examples
from vpstudy.training.fit import Diverged, batches
from vpstudy.training.mask_search.learned import LearnedSelection
from vpstudy.training.mask_search.settings import MaskSearch
from vpstudy.training.mask_search.subnetwork import Subnetwork

MOMENTUM = 0.9
# The BatchNorm of a closed channel divides gradients by nearly zero; one unclipped step would rank dead weights above
# all others for good. The paper clips in its structured variant.
CLIP = 0.25
Learning = Literal["weights", "scores", "both", "prompt"]
Passes = Literal["augmented", "alternating", "prompted"]


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
    """Train `network` in place on uint8 `examples` and keep its last state. Frozen tensors keep their bits.

    Learning rates, all scaled by `factor`, follow a cosine to zero. BatchNorm uses batch statistics and updates its
    running ones. Only weights decay: Adam would turn any decay into full steps where gradients are zero, as for most
    scores.

    `learns`: "weights" (unpruned ones), "scores" of `learned`, "both" in turn, weights first (the two levels of BiP),
    or only the "prompt". A prompt is also trained with weights and scores on prompted passes.

    `passes`: "augmented" (no prompt, shifted pictures), "prompted" (prompt, unchanged pictures) or "alternating", as in
    VPNs: the two in turn, prompted first. Each of the `steps` is a forward and a backward pass over a batch.

    Weights are trained by SGD with momentum, prompts by Adam, and scores by Adam with `score_rate` or the rate of
    `settings`, or by SGD with the rate `sgd`. `l1` weighs the L1 norm of all BatchNorm factors in the loss. Raises
    Diverged if the loss, a score or a weight is not finite.
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
    for step, batch in zip(range(steps), batches(examples, settings.batch, order), strict=False):
        pictures, labels = batch.inputs, batch.labels
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
