"""Magnitude pruning: removes the weights of smallest absolute value, over the whole network or as LAMP says."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from vpstudy.compression.masks import Mask


def magnitude(parameters: Mapping[str, Tensor], sparsity: float, mask: Mask | None = None) -> Mask:
    """Prune the weights of smallest |w| (Han et al., 2015); arguments and errors as `prune_lowest`."""
    return prune_lowest({name: weight.abs() for name, weight in parameters.items()}, sparsity, mask)


def lamp(parameters: Mapping[str, Tensor], sparsity: float, dense: Collection[str] = ()) -> Mask:
    """Prune the weights of lowest `lamp_scores` (Lee et al., ICLR 2021), none of them in `dense`, by name.

    Exactly round(sparsity · n) of all n weights go, and each layer keeps at least one. Raises ValueError as
    `prune_lowest` and `check_lamp`.
    """
    check_lamp(parameters, sparsity, dense)
    scores = {n: torch.full_like(w, 2) if n in dense else lamp_scores(w) for n, w in parameters.items()}
    return prune_lowest(scores, sparsity)


def check_lamp(parameters: Mapping[str, Tensor], sparsity: float, dense: Collection[str] = ()) -> None:
    """Raise ValueError if more weights would go than `lamp` may prune, whatever their values."""
    n = sum(w.numel() for w in parameters.values())
    most = sum(w.numel() - 1 for name, w in parameters.items() if name not in dense)
    if (wanted := round(sparsity * n)) > most:
        raise ValueError(
            f"sparsity {sparsity} is {wanted} of {n} weights, and at most {most} ({most / n:.4f}) may go: "
            f"{len(dense)} layers stay dense and each of the others keeps a weight. Ask for a lower sparsity, or for "
            f"global-{sparsity:.3g}, which spares no layer"
        )


def lamp_scores(weight: Tensor) -> Tensor:
    """w² over the sum of the squares of the layer's weights that are no smaller: (0, 1], float64, on the CPU.

    Within a layer they rank as |w|, equal ones in the order of the flattened tensor, and only the largest has 1.
    """
    squares, order = weight.detach().cpu().double().flatten().square().sort(stable=True)
    no_smaller = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.empty_like(squares).scatter_(0, order, squares / no_smaller).view(weight.shape)


def prune_lowest(scores: Mapping[str, Tensor], sparsity: float, mask: Mask | None = None) -> Mask:
    """Prune exactly round(sparsity · n) of n weights, those of lowest score.

    Weights that `mask` has pruned count and stay pruned. Ties go in the order of `scores`, then of the flattened
    tensor. Raises ValueError if sparsity is outside [0, 1), a score is not finite, or `mask` does not fit or has pruned
    more.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    scores = {name: score.detach().cpu() for name, score in scores.items()}
    bad = [name for name, score in scores.items() if not bool(torch.isfinite(score).all())]
    if bad:
        raise ValueError(f"cannot rank weights that are not finite (did training diverge?): {', '.join(bad)}")
    mask = Mask.dense(scores) if mask is None else mask
    mask.check(scores)
    kept = torch.cat([mask[name].flatten() for name in scores])
    wanted, already = round(sparsity * kept.numel()), int((~kept).sum())
    if already > wanted:
        raise ValueError(
            f"sparsity {sparsity} is {wanted} of {kept.numel()} weights, but the mask has already pruned {already}: "
            "ask for a higher sparsity, or start from a denser mask"
        )
    ranked = torch.cat([score.flatten() for score in scores.values()]).masked_fill(~kept, -torch.inf)
    kept[torch.sort(ranked, stable=True).indices[:wanted]] = False
    layers = kept.split([score.numel() for score in scores.values()])
    return Mask({name: layer.view(score.shape) for (name, score), layer in zip(scores.items(), layers, strict=True)})
