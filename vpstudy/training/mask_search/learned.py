"""Learned masks: each weight has a trained score, and the weights with the highest of all scores are kept.

HYDRA (Sehwag et al., NeurIPS 2020) trains scores of frozen weights; BiP (Zhang et al., NeurIPS 2022) alternates between
scores and weights, a bi-level problem; VPNs (Jin et al., arXiv 2312.01397) train scores and a visual prompt.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.compression.masks import Mask, constrain_weight


def initial_scores(weight: Tensor) -> Tensor:
    """HYDRA's scaled initial scores, √(6 / fan-in) · w / max|w|: in a layer they rank as magnitudes do.

    The fan-in of a weight (C, ...) is its number of values per output channel. A layer of zeros scores zero.
    """
    largest = weight.detach().abs().max()
    return weight.detach() * ((6 / weight[0].numel()) ** 0.5 / largest if largest > 0 else 0.0)


def mask_gradient(weight: Tensor, kept: Tensor, gradient: Tensor, gamma: float = torch.inf) -> Tensor:
    """Gradient of the loss for the mask m (`kept`, bool), given that for the masked weight z = m · w.

    Straight through, it is w · dL/dz. In BiP the weights also follow the mask: they minimise L(m · w) + γ/2 ‖w‖². With
    the Hessian of L neglected, dw/dm = −(1/γ) dL/dz, which adds −(1/γ) m · (dL/dz)²: exact for a loss linear in z, and
    in the limit of large γ. γ is infinite for frozen weights.
    """
    return (weight - kept * gradient / gamma) * gradient


class _Selected(torch.autograd.Function):
    """w where kept, else 0; gradients pass to the weight and straight through the threshold on |score| to the score."""

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
    """Parametrization: passes values where `kept`, zeroes others; gradients of the mask go to `scores`."""

    def __init__(self, scores: nn.Parameter, kept: Tensor, gamma: float = torch.inf):
        super().__init__()
        self.scores, self.gamma = scores, gamma
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return _Selected.apply(values, self.scores, self.kept, self.gamma)


class LearnedSelection:
    """Zeroes tensors of `model` whose scores rank low, while the scores are trained, until `release`.

    Call `update` after each step of the optimizer of `scores`. `names[i]` are the parameters that `scores[i]` decides
    on; `choose` maps all scores to bool tensors of their shapes, stored in `kept`. For `gamma` see `mask_gradient`.
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
        """End the training of scores; the model gets all its values back."""
        for name in (name for together in self._names for name in together):
            owner, _, tensor = name.rpartition(".")
            parametrize.remove_parametrizations(self._model.get_submodule(owner), tensor, leave_parametrized=False)


class LearnedMask(LearnedSelection):
    """A mask over the named weights of `model` with one score per weight, as in HYDRA, BiP and VPNs.

    Always prunes exactly round(sparsity · n) of all n. Raises ValueError unless 0 <= sparsity < 1 and γ > 0.
    """

    def __init__(self, model: nn.Module, names: Collection[str], sparsity: float, gamma: float = torch.inf):
        if not 0 <= sparsity < 1 or gamma <= 0:
            raise ValueError(f"sparsity={sparsity}, gamma={gamma}: give 0 <= sparsity < 1 and gamma > 0")
        self.names = [*names]
        scores = [initial_scores(model.get_parameter(name)) for name in names]
        super().__init__(model, [[name] for name in names], scores, partial(_highest, sparsity=sparsity), gamma)

    def mask(self) -> Mask:
        """Copy of the current mask."""
        return Mask(dict(zip(self.names, self.kept, strict=True)))


def _highest(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Keep all but the round(sparsity · n) entries of lowest |score|."""
    ranked = torch.cat([each.abs().flatten() for each in scores]).cpu()
    pruned = round(sparsity * len(ranked))
    kept = torch.ones(len(ranked), dtype=torch.bool)
    # takes a tenth of the time of a sort, and runs at every step
    kept[torch.from_numpy(np.argpartition(ranked.numpy(), min(pruned, len(ranked) - 1))[:pruned])] = False
    parts = kept.split([each.numel() for each in scores])
    return [part.view(each.shape) for part, each in zip(parts, scores, strict=True)]
