"""Groups of channels that must be removed together: scoring, choice and removal.

Dependent channels, e.g. on both sides of a residual connection, count as one channel of a group, with one score
(DepGraph, Fang et al., CVPR 2023, by Torch-Pruning). All methods remove equally many channels, over all groups
together. Groups with one of the first five convolutions lose at most a quarter of their channels; the paper does so for
VPNs only.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vpstudy.models.backbones import Backbone
from vpstudy.training.mask_search.learned import LearnedSelection

EARLY, EARLY_SHARE = 5, 0.25  # number of first convolutions, and the largest share they lose


@dataclass(frozen=True)
class Group:
    """Channels that are removed together, across layers."""

    convolutions: tuple[str, ...]  # names of those that make the channels
    norms: tuple[str, ...]  # names of the BatchNorms that the channels pass
    size: int
    most: int  # channels that may be removed


def groups(backbone: Backbone, side: int) -> list[Group]:
    """The groups of a backbone, ordered by first convolution and traced with a picture of `side` px.

    Raises ValueError if its channels cannot be removed: they must pass a BatchNorm, which alone closes them exactly,
    and Torch-Pruning must follow them. A trial on a copy says whether closing and removing a channel are the same.
    """
    try:
        found = _groups(backbone, side)
        _try(backbone, found, side)
    except Exception as error:  # Torch-Pruning raises all kinds where it cannot follow a network
        raise ValueError(
            f"{backbone.name}: methods that prune channels cannot remove its channels: {error}. Take a network whose "
            "convolutions each have a BatchNorm behind them and no groups: cnn, ResNet, VGG with BatchNorm, MobileNet"
        ) from error
    return found


def _groups(backbone: Backbone, side: int) -> list[Group]:
    model = backbone.model
    names = {module: name for name, module in model.named_modules()}
    order = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    found = []
    for group in _graph(backbone, side).get_all_groups([backbone.classifier], [nn.Conv2d]):
        layers = [(dependency.target.module, dependency.handler.__name__) for dependency, _ in group]
        norms = [names[module] for module, _ in layers if isinstance(module, _BatchNorm)]
        makers = [
            m for m, handler in layers if handler == "prune_out_channels" and isinstance(m, nn.Conv2d | nn.Linear)
        ]
        made = sorted((names[m] for m in makers if isinstance(m, nn.Conv2d)), key=order.index)
        others = [m for m, _ in layers if isinstance(m, nn.LayerNorm | nn.Parameter)]
        if len(norms) < len(made) or len(made) < len(makers) or others:
            raise ValueError(f"not all channels of {', '.join(made)} pass a BatchNorm")
        size = model.get_submodule(made[0]).out_channels
        widths = {len(model.get_submodule(name).weight) for name in (*made, *norms)}
        if widths != {size}:
            raise ValueError(f"channels of {made[0]} are joined with others, or split")
        share = EARLY_SHARE if {*made} & {*order[:EARLY]} else 1.0
        found.append(Group(tuple(made), tuple(sorted(norms)), size, min(int(share * size), size - 1)))
    if not found:
        raise ValueError("it has no convolution whose channels could be removed")
    return sorted(found, key=lambda group: order.index(group.convolutions[0]))


def _try(backbone: Backbone, groups: Sequence[Group], side: int) -> None:
    """Raise ValueError unless closing and removing the first channel of every group gives the same logits."""
    tried, kept = copy.deepcopy(backbone).frozen(), [torch.arange(g.size) >= min(g.most, 1) for g in groups]
    pictures = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(backbone.mean.device)
    for group, stays in zip(groups, kept, strict=True):
        for norm in map(tried.model.get_submodule, group.norms):
            norm.weight[~stays], norm.bias[~stays] = 0, 0
    with torch.no_grad():
        closed = tried(pictures)
    remove(tried, groups, kept, side)
    with torch.no_grad():
        removed = tried(pictures)
    if not (closed - removed).abs().max() <= 1e-3 * closed.abs().max():
        raise ValueError("removing a channel changes more than closing it")


def number(groups: Sequence[Group], ratio: float) -> int:
    """The channels to remove, round(ratio · n) of all n. Raises ValueError if the groups do not allow so many."""
    total, most = sum(group.size for group in groups), sum(group.most for group in groups)
    wanted = round(ratio * total)
    if wanted > most:
        raise ValueError(f"ratio {ratio} would remove {wanted} of {total} channels, but at most {most} may go")
    return wanted


def lowest(scores: Sequence[Tensor], groups: Sequence[Group], ratio: float) -> list[Tensor]:
    """The channels to keep, (size,) bool for each group: those of lowest |score| go. Raises ValueError as `number`."""
    wanted = number(groups, ratio)
    places = [(g, channel) for g, group in enumerate(groups) for channel in range(group.size)]
    kept = [torch.ones(group.size, dtype=torch.bool) for group in groups]
    room = [group.most for group in groups]
    for index in torch.cat([score.detach().abs().cpu() for score in scores]).sort(stable=True).indices.tolist():
        g, channel = places[index]
        if wanted and room[g]:
            kept[g][channel] = False
            room[g] -= 1
            wanted -= 1
    return kept


def norms_of_filters(backbone: Backbone, groups: Sequence[Group]) -> list[Tensor]:
    """L2 norm of each channel's filters over all convolutions, divided by its mean in the group."""
    scores = []
    for group in groups:
        weights = [backbone.model.get_submodule(name).weight.detach().flatten(1) for name in group.convolutions]
        norm = torch.cat(weights, 1).norm(dim=1)
        scores.append(norm / norm.mean())
    return scores


def norms_of_groups(backbone: Backbone, groups: Sequence[Group], side: int) -> list[Tensor]:
    """DepGraph's importance of each channel: mean L2 norm of all its weights, with consumers and BatchNorms."""
    importance = _torch_pruning().importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
    graph = _graph(backbone, side)
    scores = [importance(_whole(graph, backbone, group, range(group.size))).detach() for group in groups]
    backbone.frozen()
    return scores


def factors_of_norms(backbone: Backbone, groups: Sequence[Group]) -> list[Tensor]:
    """Mean |factor| of each channel's BatchNorms."""
    factors = {
        name: module.weight.detach().abs()
        for name, module in backbone.model.named_modules()
        if isinstance(module, _BatchNorm)
    }
    return [torch.stack([factors[name] for name in group.norms]).mean(0) for group in groups]


def remove(backbone: Backbone, groups: Sequence[Group], kept: Sequence[Tensor], side: int) -> None:
    """Remove the channels that are not kept from every layer, in place."""
    graph = _graph(backbone, side)
    for group, stays in zip(groups, kept, strict=True):
        if not stays.all():
            _whole(graph, backbone, group, (~stays).nonzero().flatten().tolist()).prune()
    backbone.frozen()


class LearnedChannels(LearnedSelection):
    """Closes the channels with the lowest |score|; scores start at the norms of their filters.

    The factor and shift of every BatchNorm that a channel passes close it, so removing it later changes no output.
    """

    def __init__(self, backbone: Backbone, groups: Sequence[Group], ratio: float):
        closed = [[f"{name}.{values}" for name in group.norms for values in ("weight", "bias")] for group in groups]
        choose = partial(lowest, groups=groups, ratio=ratio)
        super().__init__(backbone.model, closed, norms_of_filters(backbone, groups), choose)


def _graph(backbone: Backbone, side: int):
    backbone.model.eval().requires_grad_(True)  # tracing follows gradients
    picture = torch.rand(1, 3, side, side, device=next(backbone.parameters()).device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that stand in no layer; groups with such are refused
        return _torch_pruning().DependencyGraph().build_dependency(backbone.model, example_inputs=picture)


def _torch_pruning():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning  # takes a second, rarely needed
    return torch_pruning


def _whole(graph, backbone: Backbone, group: Group, channels: Sequence[int]):
    """Torch-Pruning's group of these channels: everything that depends on them."""
    root = backbone.model.get_submodule(group.convolutions[0])
    return graph.get_pruning_group(root, _torch_pruning().prune_conv_out_channels, idxs=list(channels))
