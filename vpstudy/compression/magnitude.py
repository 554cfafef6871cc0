"""Magnitude pruning: drop the weights that are smallest in absolute value."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from vpstudy.compression.masks import Mask

Scope = Literal["global", "layer"]


def magnitude(
    parameters: Mapping[str, Tensor], sparsity: float, scope: Scope = "global", mask: Mask | None = None
) -> Mask:
    """Prune the weights of the smallest |w| (Han et al., 2015), over the whole network or in each layer.

    `parameters` are the prunable weights by name; for all else, and for errors, see `prune_lowest`.
    """
    return prune_lowest({name: weight.abs() for name, weight in parameters.items()}, sparsity, scope, mask)


def prune_lowest(
    scores: Mapping[str, Tensor], sparsity: float, scope: Scope = "global", mask: Mask | None = None
) -> Mask:
    """Prune exactly round(sparsity · n) of n weights (of all, or of each layer), those of the lowest scores.

    Weights that `mask` has pruned count among them and stay pruned. Of equal scores the earlier goes first,
    in the order of `scores` and then of the flattened tensor, so that the result is always the same.

    Raises ValueError if sparsity is outside [0, 1), the scope is unknown, a score is not finite, `mask` is
    for other weights, or `mask` has already pruned more than is asked for.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    if scope not in ("global", "layer"):
        raise ValueError(f'scope must be "global" or "layer", got {scope!r}')
    scores = {name: score.detach().cpu() for name, score in scores.items()}
    bad = [name for name, score in scores.items() if not bool(torch.isfinite(score).all())]
    if bad:
        raise ValueError(f"cannot rank weights that are not finite (did training diverge?): {', '.join(bad)}")
    mask = Mask.dense(scores) if mask is None else mask
    mask.check(scores)
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    kept: dict[str, Tensor] = {}
    for names in groups:
        kept |= _prune_group({name: scores[name] for name in names}, sparsity, mask)
    return Mask(kept)


def _prune_group(scores: Mapping[str, Tensor], sparsity: float, mask: Mask) -> dict[str, Tensor]:
    kept = torch.cat([mask[name].flatten() for name in scores])
    wanted, already = round(sparsity * kept.numel()), int((~kept).sum())
    if already > wanted:
        raise ValueError(
            f"sparsity {sparsity} is {wanted} of the {kept.numel()} weights of {', '.join(scores)}, but the "
            f"mask has already pruned {already}: ask for a higher sparsity, or start from a denser mask"
        )
    ranked = torch.cat([score.flatten() for score in scores.values()]).masked_fill(~kept, -torch.inf)
    kept[torch.sort(ranked, stable=True).indices[:wanted]] = False
    layers = kept.split([score.numel() for score in scores.values()])
    return {name: layer.view(scores[name].shape) for name, layer in zip(scores, layers, strict=True)}
