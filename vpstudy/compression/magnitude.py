"""Magnitude pruning: removes the weights of smallest absolute value over the whole network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vpstudy.compression.masks import Mask


def magnitude(parameters: Mapping[str, Tensor], sparsity: float, mask: Mask | None = None) -> Mask:
    """Prune the weights of smallest |w| (Han et al., 2015); arguments and errors as `prune_lowest`."""
    return prune_lowest({name: weight.abs() for name, weight in parameters.items()}, sparsity, mask)


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
