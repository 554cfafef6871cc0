"""Learned masks: every weight has a score, and the highest of all scores are kept while they are trained.

HYDRA (Sehwag et al., NeurIPS 2020) trains scores of frozen weights; BiP (Zhang et al., NeurIPS 2022) trains scores and
weights in turn, at two levels; VPNs (Jin et al., arXiv 2312.01397) train scores and a visual prompt.
"""

from collections.abc import Collection

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


class LearnedMask:
    """A mask over the named weights of `model` that follows their scores, until `release`.

    Exactly round(sparsity · n) of the n weights are pruned at any time, over all layers together. Call `update` after
    every step of the optimizer of `scores`.

    Parameters
    ----------
    gamma
        BiP's γ, see `mask_gradient`.

    Raises
    ------
    ValueError
        If sparsity is outside [0, 1) or γ is not positive.
    """

    def __init__(self, model: nn.Module, names: Collection[str], sparsity: float, gamma: float = torch.inf):
        if not 0 <= sparsity < 1 or gamma <= 0:
            raise ValueError(f"sparsity={sparsity}, gamma={gamma}: give 0 <= sparsity < 1 and gamma > 0")
        self._model, self._sparsity = model, sparsity
        self._selections: dict[str, Selection] = {}
        for name in names:
            weight = model.get_parameter(name)
            kept = torch.ones_like(weight, dtype=torch.bool)
            self._selections[name] = Selection(nn.Parameter(initial_scores(weight)), kept, gamma)
            constrain_weight(model, name, self._selections[name])
        self.update()

    @property
    def scores(self) -> list[nn.Parameter]:
        """The parameters to train."""
        return [selection.scores for selection in self._selections.values()]

    @torch.no_grad()
    def update(self) -> None:
        """Keep the weights that score highest now. Raises ValueError if a score is not finite."""
        ranked = torch.cat([scores.abs().flatten() for scores in self.scores]).cpu()
        if not torch.isfinite(ranked).all():
            raise ValueError("scores are not finite: training has diverged")
        pruned = round(self._sparsity * len(ranked))
        kept = torch.ones(len(ranked), dtype=torch.bool)
        # a tenth of the time of a sort, and a step pays it each time
        kept[torch.from_numpy(np.argpartition(ranked.numpy(), min(pruned, len(ranked) - 1))[:pruned])] = False
        layers = kept.split([scores.numel() for scores in self.scores])
        for selection, layer in zip(self._selections.values(), layers, strict=True):
            selection.kept.copy_(layer.view(selection.kept.shape))

    def mask(self) -> Mask:
        """A copy of the mask as it is."""
        return Mask({name: selection.kept for name, selection in self._selections.items()})

    def release(self) -> Mask:
        """End the training of scores: the model gets its weights back, unpruned. Returns the last mask."""
        mask = self.mask()
        for name in self._selections:
            owner, _, tensor = name.rpartition(".")
            parametrize.remove_parametrizations(self._model.get_submodule(owner), tensor, leave_parametrized=False)
        return mask
