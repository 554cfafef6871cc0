"""Steps that several families of compressions are made by."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vpstudy.compression import activations, quantization
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.distillation import distill
from vpstudy.compression.family import Compression
from vpstudy.compression.magnitude import prune_lowest
from vpstudy.compression.masks import Mask, release
from vpstudy.compression.source_access import NoSourceAccess, SourceAccess
from vpstudy.models.backbones import Backbone

BATCH = 128  # pictures of a forward pass


def pruned(compression: Compression, backbone: Backbone, mask: Mask | None = None) -> Compressed:
    """`backbone` with its mask applied; without one every weight is kept."""
    mask = mask or Mask.dense(backbone.prunable)
    mask.apply_(backbone.prunable)
    return Compressed(compression, backbone, mask)


def quantized(
    compression: Compression,
    backbone: Backbone,
    ranges: dict[str, Tensor],
    scales: dict[str, Tensor] | None = None,
) -> Compressed:
    """`backbone` with rounded weights, and what enters its layers rounded where there are `ranges` (scale, zero point).

    `scales` of weights (C,) follow from their largest values, or least squared errors, unless they are given.
    """
    if compression.ranges == "mse":
        scales = {name: quantization.mse_scales(w, compression.bits) for name, w in backbone.prunable.items()}
    with torch.no_grad():
        for name, weight in backbone.prunable.items():
            weight.copy_(quantization.fake_quantize(weight, compression.bits, scales and scales[name]))
    activations.attach(backbone.model, ranges, compression.activation_bits)
    return Compressed(compression, backbone, Mask.dense(backbone.prunable), compression.bits, scales or {}, ranges)


def trained(made: Compressed, train: Callable[[], None]) -> Compressed:
    """`made` after `train`, which its mask or its rounding has survived."""
    made.constrain(made.backbone.model)
    try:
        train()
    finally:
        release(made.backbone.model)
    return made


def distilled(made: Compressed, access: NoSourceAccess) -> Compressed:
    """`made` after learning from dense."""
    pictures, teacher, label = access.unlabelled(), access.dense(), f"{made.compression.name}: learning from dense"
    return trained(made, lambda: distill(made.backbone, teacher, pictures, access.distillation, access.runtime, label))


def from_scratch(
    compression: Compression, backbone: Backbone, scores: dict[str, Tensor], access: SourceAccess
) -> Compressed:
    """Prune the initial weights of lowest scores, then train as dense was: on the same pictures, in the same order."""
    made = pruned(compression, backbone, prune_lowest(scores, compression.sparsity))
    return trained(made, lambda: access.train(backbone, "pretraining", 0))


def batches(backbone: Backbone, access: SourceAccess) -> Iterator[Tensor]:
    """Normalised source pictures, as the layers of the model see them."""
    return (backbone.normalised(chunk) for chunk in access.pictures()[0].split(BATCH))


def recalibrate(backbone: Backbone, access: SourceAccess) -> None:
    """New BatchNorm statistics: plain means over the batches of source pictures."""
    momenta = {m: m.momentum for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    backbone.train()
    with torch.no_grad():
        for batch in batches(backbone, access):
            backbone.model(batch)
    backbone.eval()
    for norm, momentum in momenta.items():
        norm.momentum = momentum
