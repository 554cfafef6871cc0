"""Structured pruning: removes whole channels, so that the network really becomes smaller (Torch-Pruning, DepGraph)."""

import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vpstudy.models.backbones import Backbone
from vpstudy.models.shapes import follow_shapes


def prune_channels(backbone: Backbone, ratio: float, size: int) -> None:
    """Remove a share `ratio` of the channels of every layer, those of smallest L2 norm, in place.

    Dependent channels, as on both sides of a residual connection, go together (DepGraph, Fang et al., CVPR 2023),
    traced with a picture of side `size`, px. The classifier keeps its outputs. In a transformer the embedding and
    hidden widths shrink; the heads stay, but narrower. Raises ValueError unless 0 < ratio < 1.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio is {ratio}; the share of channels to remove must lie between 0 and 1")
    pruning = _torch_pruning()
    model, device = backbone.model, next(backbone.parameters()).device
    training = model.training
    model.eval().requires_grad_(True)  # tracing needs gradients
    heads = {m.qkv: m.num_heads for m in model.modules() if hasattr(m, "qkv") and hasattr(m, "num_heads")}
    pruner = pruning.pruner.MagnitudePruner(
        model,
        torch.rand(1, 3, size, size, device=device),
        importance=pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[backbone.classifier],
        num_heads=heads,
        prune_num_heads=False,
    )
    pruner.step()
    follow_shapes(model)
    if hasattr(model, "num_features"):
        model.num_features = backbone.classifier.in_features
    model.train(training)


def macs(backbone: Backbone, size: int) -> int:
    """Multiply-accumulate operations of one picture (3, size, size) through the network."""
    device = next(backbone.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # counts 2 per multiply-accumulate
        backbone.model(torch.rand(1, 3, size, size, device=device))
    return counter.get_total_flops() // 2


def _torch_pruning() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning  # takes a second, rarely needed
    return torch_pruning
