"""Structured pruning for a target: whole channels are chosen by score, and then removed in fact.

Channels that must go together, as on both sides of a residual connection, are one channel of a group (DepGraph, Fang et
al., CVPR 2023) with one score. Every method removes exactly as many channels, over all groups together. As the paper
does for VPNs, and here for every method alike, groups that hold one of the first five convolutions lose at most a
quarter of their channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.compression.channels import _torch_pruning
from vpstudy.compression.learned import mask_gradient
from vpstudy.compression.masks import constrain_weight
from vpstudy.models.backbones import Backbone
from vpstudy.models.shapes import follow_shapes

EARLY, EARLY_SHARE = 5, 0.25  # so many convolutions from the input on lose at most this share


@dataclass(frozen=True)
class Group:
    """Channels that go together, across layers.

    Attributes
    ----------
    convolutions, norms
        Names of the convolutions that make them and of the BatchNorms that they pass, all with `size` channels.
    most
        How many of them may be removed.
    """

    convolutions: tuple[str, ...]
    norms: tuple[str, ...]
    size: int
    most: int


def groups(backbone: Backbone, side: int) -> list[Group]:
    """The groups of a backbone, traced with a picture of `side` px.

    Raises ValueError for a network whose channels do not all pass a BatchNorm: only that can close them exactly.
    """
    model = backbone.model
    names = {module: name for name, module in model.named_modules()}
    order = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    early = order[:EARLY]
    found = []
    for group in _graph(backbone, side).get_all_groups(
        ignored_layers=[backbone.classifier], root_module_types=[nn.Conv2d]
    ):
        made, norms, others = [], [], []
        for dependency, _ in group:
            module = dependency.target.module
            output = dependency.handler.__name__ == "prune_out_channels"
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                norms.append(names[module])
            elif isinstance(module, nn.Conv2d) and output:
                made.append(names[module])
            elif isinstance(module, nn.LayerNorm | nn.Parameter) or (isinstance(module, nn.Linear) and output):
                others.append(module)
        if len(norms) < len(made) or others:
            raise ValueError(
                f"{backbone.name}: not all channels of {', '.join(made)} pass a BatchNorm; methods that prune channels "
                "need one behind every convolution (cnn has them)"
            )
        size = model.get_submodule(made[0]).out_channels
        share = EARLY_SHARE if set(made) & set(early) else 1.0
        found.append(
            Group(tuple(sorted(made, key=order.index)), tuple(sorted(norms)), size, min(int(share * size), size - 1))
        )
    if not found:
        raise ValueError(f"{backbone.name}: no convolution whose channels could be removed; take cnn")
    return sorted(found, key=lambda group: order.index(group.convolutions[0]))


def lowest(scores: Sequence[Tensor], groups: Sequence[Group], ratio: float) -> list[Tensor]:
    """Which channels stay, (size,) bool for each group: round(ratio · n) of all n go, the lowest |score| first.

    Raises ValueError if so many may not go.
    """
    total = sum(group.size for group in groups)
    wanted, most = round(ratio * total), sum(group.most for group in groups)
    if wanted > most:
        raise ValueError(f"ratio {ratio} would remove {wanted} of {total} channels, but at most {most} may go")
    kept = [torch.ones(group.size, dtype=torch.bool) for group in groups]
    place = torch.cat([torch.full((group.size,), k) for k, group in enumerate(groups)]).tolist()
    channel = torch.cat([torch.arange(group.size) for group in groups]).tolist()
    order = torch.cat([score.detach().abs().cpu() for score in scores]).sort(stable=True).indices.tolist()
    room = [group.most for group in groups]
    for index in order:
        if not wanted:
            break
        if room[place[index]]:
            kept[place[index]][channel[index]] = False
            room[place[index]] -= 1
            wanted -= 1
    return kept


def norms_of_filters(backbone: Backbone, groups: Sequence[Group]) -> list[Tensor]:
    """The L2 norm of each channel's filters, over all convolutions that make it; over its mean in the group."""
    scores = []
    for group in groups:
        weights = [backbone.model.get_submodule(name).weight.detach().flatten(1) for name in group.convolutions]
        norm = torch.cat(weights, 1).norm(dim=1)
        scores.append(norm / norm.mean())
    return scores


def norms_of_groups(backbone: Backbone, groups: Sequence[Group], side: int) -> list[Tensor]:
    """DepGraph's importance of each channel: the mean L2 norm of all its weights, in consumers and BatchNorms too."""
    graph, pruning = _graph(backbone, side), _torch_pruning()
    importance = pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer="mean")
    scores = []
    for group in groups:
        root = backbone.model.get_submodule(group.convolutions[0])
        whole = graph.get_pruning_group(root, pruning.prune_conv_out_channels, idxs=list(range(group.size)))
        scores.append(importance(whole).detach())
    backbone.frozen()
    return scores


def factors_of_norms(backbone: Backbone, groups: Sequence[Group]) -> list[Tensor]:
    """The mean |factor| of each channel's BatchNorms."""
    model = backbone.model
    return [
        torch.stack([model.get_submodule(name).weight.detach().abs() for name in group.norms]).mean(0)
        for group in groups
    ]


def remove(backbone: Backbone, groups: Sequence[Group], kept: Sequence[Tensor], side: int) -> None:
    """Take the other channels out of every layer, in place."""
    model = backbone.model
    graph, pruning = _graph(backbone, side), _torch_pruning()
    for group, stays in zip(groups, kept, strict=True):
        gone = (~stays).nonzero().flatten().tolist()
        if gone:
            root = model.get_submodule(group.convolutions[0])
            graph.get_pruning_group(root, pruning.prune_conv_out_channels, idxs=gone).prune()
    follow_shapes(model)
    if hasattr(model, "num_features"):
        model.num_features = backbone.classifier.in_features
    backbone.frozen()


class _Gated(torch.autograd.Function):
    """A BatchNorm's factor or shift (C,), zero where a channel is closed; straight through to the score."""

    @staticmethod
    def forward(ctx, values: Tensor, scores: Tensor, kept: Tensor) -> Tensor:
        ctx.save_for_backward(values, scores, kept)
        return torch.where(kept, values, 0.0)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        values, scores, kept = ctx.saved_tensors
        to_values, to_scores, _ = ctx.needs_input_grad
        return (
            torch.where(kept, gradient, 0.0) if to_values else None,
            mask_gradient(values, kept, gradient) * scores.sign() if to_scores else None,
            None,
        )


class _Gate(nn.Module):
    def __init__(self, scores: nn.Parameter, kept: Tensor):
        super().__init__()
        self.scores = scores
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return _Gated.apply(values, self.scores, self.kept)


class LearnedChannels:
    """Channels of the lowest |score| are closed, while scores are trained, until `release`; as `LearnedMask`.

    A channel is closed by the factor and the shift of every BatchNorm that it passes, so that removing it later changes
    no output. Scores start at the norms of its filters.
    """

    def __init__(self, backbone: Backbone, groups: Sequence[Group], ratio: float):
        self._backbone, self._groups, self._ratio = backbone, groups, ratio
        self.scores = [nn.Parameter(scores) for scores in norms_of_filters(backbone, groups)]
        self._gates: Mapping[Group, Tensor] = {}
        for group, scores in zip(groups, self.scores, strict=True):
            self._gates[group] = torch.ones(group.size, dtype=torch.bool, device=scores.device)
            for name in group.norms:
                for values in ("weight", "bias"):
                    constrain_weight(backbone.model, f"{name}.{values}", _Gate(scores, self._gates[group]))
        self.update()

    def update(self) -> None:
        """Close the channels that score lowest now. Raises ValueError if a score is not finite."""
        if not all(torch.isfinite(scores).all() for scores in self.scores):
            raise ValueError("scores are not finite: training has diverged")
        for group, stays in zip(self._groups, lowest(self.scores, self._groups, self._ratio), strict=True):
            self._gates[group].copy_(stays)

    def release(self) -> list[Tensor]:
        """End the training of scores: nothing is closed. Returns which channels the scores keep."""
        for group in self._groups:
            for name in group.norms:
                norm = self._backbone.model.get_submodule(name)
                for values in ("weight", "bias"):
                    parametrize.remove_parametrizations(norm, values, leave_parametrized=False)
        return [self._gates[group].cpu() for group in self._groups]


def _graph(backbone: Backbone, side: int):
    model = backbone.model
    model.eval().requires_grad_(True)  # tracing follows gradients
    picture = torch.rand(1, 3, side, side, device=next(backbone.parameters()).device)
    return _torch_pruning().DependencyGraph().build_dependency(model, example_inputs=picture)
