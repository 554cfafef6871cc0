"""Layers that compressions treat apart: the first and the last, and depthwise convolutions."""

from torch import nn

from vpstudy.models.backbones import Backbone

COLOURS = 3
OUTER_BITS = 8  # of the first and the last layer, whatever the others have


def first(backbone: Backbone) -> list[str]:
    """Prunable weights of the layers that read the picture: convolutions of its three colours, else the first layer."""
    reading = [name for name, layer in _convolutions(backbone).items() if layer.in_channels == COLOURS]
    return reading or list(backbone.prunable)[:1]


def last(backbone: Backbone) -> list[str]:
    """Weight of the classifier; none if the backbone has no classifier of its own (CLIP)."""
    return [f"{name}.weight" for name, module in backbone.model.named_modules() if module is backbone.classifier]


def depthwise(backbone: Backbone) -> list[str]:
    """Prunable weights of depthwise convolutions, in which each filter reads a single channel."""
    return [name for name, layer in _convolutions(backbone).items() if layer.groups == layer.in_channels > 1]


def rounded(backbone: Backbone, bits: int) -> dict[str, int]:
    """Bits of every layer that is quantized, by the name of its weight: 8 in the first and the last layer.

    So did LSQ (Esser et al., ICLR 2020) and most others: these two layers lose most and hold little. The network's
    input, the normalised picture with its prompt, enters the first layer and so has 8 bits, too.
    """
    outer = dict.fromkeys([*first(backbone), *last(backbone)], OUTER_BITS)
    return dict.fromkeys(backbone.prunable, bits) | outer


def _convolutions(backbone: Backbone) -> dict[str, nn.Conv2d]:
    layers = {name: backbone.model.get_submodule(name.rpartition(".")[0]) for name in backbone.prunable}
    return {name: layer for name, layer in layers.items() if isinstance(layer, nn.Conv2d)}
