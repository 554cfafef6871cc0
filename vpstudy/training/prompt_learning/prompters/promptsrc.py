"""Text side of PromptSRC (Khattak et al., ICCV 2023): CoOp held near the frozen model, averaged over epochs.

Its picture side, prompts inside the blocks and a penalty on picture features, has no place where these are frozen.
"""

from typing import Annotated

from pydantic import Field

from vpstudy.settings import Share, Strict
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant

Weight = Annotated[float, Field(ge=0)]


class Settings(Strict):
    """Published weights, of means over all entries; the Gaussian's are 15 and 1 of 20 epochs."""

    text_weight: Weight = 25.0  # of the L1 distance to the frozen texts, averaged over templates
    logits_weight: Weight = 1.0  # of the KL divergence from the logits with these, in nats
    mean: Share = 0.75  # of the Gaussian that weights epochs, in units of all epochs
    deviation: Annotated[float, Field(gt=0)] = 0.05


def regularised(frozen, text_weight: float, logits_weight: float):
    """The loss of a `Step`: cross-entropy, and what holds texts and logits near those of `frozen` texts (K, E)."""
    import torch.nn.functional as F

    def loss(step):
        now, then = step.logits.log_softmax(1), step.logits_of(frozen).log_softmax(1)
        apart = F.kl_div(now, then, reduction="none", log_target=True).mean()
        return step.loss + text_weight * F.l1_loss(step.texts, frozen) + logits_weight * apart

    return loss


def shares(epochs: int, mean: float, deviation: float):
    """Weights (epochs,) of the prompt after each epoch: a Gaussian's density, scaled to sum 1."""
    import numpy as np
    from scipy import special, stats

    return special.softmax(stats.norm.logpdf(np.arange(1, epochs + 1), mean * epochs, deviation * epochs))


def arms(trial):
    own = trial.own
    loss = regularised(trial.frozen["base"], own.text_weight, own.logits_weight)
    averaged = shares(trial.settings.epochs, own.mean, own.deviation)
    yield trial.trained("full", Variant(loss=loss, averaged=averaged))


PROMPTER = Prompter("PromptSRC, text side", arms, Settings)
