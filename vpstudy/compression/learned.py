"""Learned masks: every weight has a score, and the highest of all scores are kept while they are trained.

HYDRA (Sehwag et al., NeurIPS 2020) trains scores of frozen weights; BiP (Zhang et al., NeurIPS 2022) trains scores and
weights in turn, at two levels; VPNs (Jin et al., arXiv 2312.01397) train scores and a visual prompt.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.compression.masks import Mask, constrain_weight


def initial_scores(weight: Tensor) -> Tensor:
    """HYDRA's scaled start, √(6 / fan-in) · w / max|w|: within a layer scores rank as magnitudes do.

    A layer of zeros scores zero. The fan-in of a weight (C, ...) is the number of its values for one output channel.
    """
    largest = weight.detach().abs().max()
    return weight.detach() * ((6 / weight[0].numel()) ** 0.5 / largest if largest > 0 else 0.0)


def mask_gradient(weight: Tensor, kept: Tensor, gradient: Tensor, gamma: float = torch.inf) -> Tensor:
    """The gradient of the loss with respect to the mask m, given that with respect to the masked weight z = m · w.

    Straight through, it is w · dL/dz. BiP's also follows the weights, which minimise L(m · w) + γ/2 ‖w‖² for each
    mask: dw/dm = −(1/γ) dL/dz where the Hessian of L is neglected, which adds −(1/γ) m · (dL/dz)². Exact for a loss
    that is linear in z, and in the limit of large γ.

    Parameters
    ----------
    kept
        The mask, bool.
    gamma
        BiP's γ; infinite for scores of frozen weights.
    """
    return (weight - kept * gradient / gamma) * gradient


class _Selected(torch.autograd.Function):
    """w where kept, else 0; backwards to the weight and, straight through the threshold on |score|, to the score."""

    @staticmethod
    def forward(ctx, weight: Tensor, scores: Tensor, kept: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(weight, scores, kept)
        ctx.gamma = gamma
        return torch.where(kept, weight, 0.0)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weight, scores, kept = ctx.saved_tensors
        to_weight, to_scores, *_ = ctx.needs_input_grad
        return (
            torch.where(kept, gradient, 0.0) if to_weight else None,
            mask_gradient(weight, kept, gradient, ctx.gamma) * scores.sign() if to_scores else None,
            None,
            None,
        )


class Selection(nn.Module):
    """A parametrization: values pass where `kept` and are zero elsewhere; gradients of the mask go to `scores`."""

    def __init__(self, scores: nn.Parameter, kept: Tensor, gamma: float = torch.inf):
        super().__init__()
        self.scores, self.gamma = scores, gamma
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return _Selected.apply(values, self.scores, self.kept, self.gamma)


class LearnedSelection:
    """Tensors of `model` that are zero where their scores rank low, while the scores are trained, until `release`.

    Call `update` after every step of the optimizer of `scores`.

    Parameters
    ----------
    names
        For each tensor of scores, the parameters of the same shape that it decides on.
    scores
        As they start.
    choose
        From all scores to what they keep, a bool tensor of the shape of each.
    gamma
        BiP's γ, see `mask_gradient`.

    Attributes
    ----------
    kept
        What `scores` keep, bool, of the same shapes.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[Collection[str]],
        scores: Sequence[Tensor],
        choose: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        gamma: float = torch.inf,
    ):
        self._model, self._names, self._choose = model, names, choose
        self.scores = [nn.Parameter(each) for each in scores]
        self.kept = [torch.ones_like(each, dtype=torch.bool) for each in scores]
        for together, parameter, kept in zip(names, self.scores, self.kept, strict=True):
            for name in together:
                constrain_weight(model, name, Selection(parameter, kept, gamma))
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Keep what scores highest now. Raises ValueError if a score is not finite."""
        if not all(torch.isfinite(scores).all() for scores in self.scores):
            raise ValueError("scores are not finite: training has diverged")
        for kept, chosen in zip(self.kept, self._choose(self.scores), strict=True):
            kept.copy_(chosen)

    def release(self) -> None:
        """End the training of scores: the model gets back all its values."""
        for name in (name for together in self._names for name in together):
            owner, _, tensor = name.rpartition(".")
            parametrize.remove_parametrizations(self._model.get_submodule(owner), tensor, leave_parametrized=False)


class LearnedMask(LearnedSelection):
    """A mask over the named weights of `model`, each with a score of its own: HYDRA's, BiP's and VPNs'.

    Exactly round(sparsity · n) of the n weights are pruned at any time, over all layers together.

    Raises
    ------
    ValueError
        If sparsity is outside [0, 1) or γ is not positive.
    """

    def __init__(self, model: nn.Module, names: Collection[str], sparsity: float, gamma: float = torch.inf):
        if not 0 <= sparsity < 1 or gamma <= 0:
            raise ValueError(f"sparsity={sparsity}, gamma={gamma}: give 0 <= sparsity < 1 and gamma > 0")
        self.names = [*names]
        scores = [initial_scores(model.get_parameter(name)) for name in names]
        super().__init__(model, [[name] for name in names], scores, partial(_highest, sparsity=sparsity), gamma)

    def mask(self) -> Mask:
        """A copy of the mask as it is."""
        return Mask(dict(zip(self.names, self.kept, strict=True)))


def _highest(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """All but round(sparsity · n) of the n entries, those of the highest |score|."""
    ranked = torch.cat([each.abs().flatten() for each in scores]).cpu()
    pruned = round(sparsity * len(ranked))
    kept = torch.ones(len(ranked), dtype=torch.bool)
    # a tenth of the time of a sort, and a step pays it each time
    kept[torch.from_numpy(np.argpartition(ranked.numpy(), min(pruned, len(ranked) - 1))[:pruned])] = False
    parts = kept.split([each.numel() for each in scores])
    return [part.view(each.shape) for part, each in zip(parts, scores, strict=True)]
