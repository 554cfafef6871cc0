"""Steps shared by several families of compressions."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from vpstudy.compression import activations, layers, quantization, reconstruction
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.distillation import distill
from vpstudy.compression.family import Compression
from vpstudy.compression.masks import Mask, release
from vpstudy.compression.source_access import NoSourceAccess, SourceAccess
from vpstudy.models.backbones import Backbone

BATCH = 128  # pictures per forward pass
SOLVES = {"bc": reconstruction.nearest, "gptq": reconstruction.gptq}  # by what stands for ranges; those are as of "mse"


def pruned(compression: Compression, backbone: Backbone, mask: Mask | None = None) -> Compressed:
    """Apply `mask` to `backbone`; by default every weight is kept."""
    mask = mask or Mask.dense(backbone.prunable)
    mask.apply_(backbone.prunable)
    return Compressed(compression, backbone, mask)


def quantized(
    compression: Compression,
    backbone: Backbone,
    access: SourceAccess,
    ranges: dict[str, Tensor],
    scales: dict[str, Tensor] | None = None,
) -> Compressed:
    """Round the weights of `backbone`, and layer inputs if `ranges` has a scale and a zero point for each.

    `scales` are (C,), by weight; without them they follow from the largest or the squared error.
    """
    bits, weight = layers.rounded(backbone, compression.bits), backbone.model.get_parameter
    if ranges:
        activations.attach(backbone.model, ranges, layers.rounded(backbone, compression.activation_bits))
    if compression.ranges in ("mse", *SOLVES):
        scales = {name: quantization.mse_scales(weight(name), each) for name, each in bits.items()}
    if compression.ranges in SOLVES:
        solve = SOLVES[compression.ranges]
        reconstruct(backbone, access, {name: solve(each, scales[name]) for name, each in bits.items()})
    with torch.no_grad():
        for name, each in bits.items():
            weight(name).copy_(quantization.fake_quantize(weight(name), each, scales and scales[name]))
    return Compressed(compression, backbone, Mask.dense(backbone.prunable), compression.bits, scales or {}, ranges)


def trained(made: Compressed, train: Callable[[], None]) -> Compressed:
    """Run `train` with the mask or rounding of `made` kept."""
    made.constrain(made.backbone.model)
    try:
        train()
    finally:
        release(made.backbone.model)
    return made


def distilled(made: Compressed, access: NoSourceAccess) -> Compressed:
    """Distil `made` from dense."""
    pictures, teacher, label = access.unlabelled(), access.dense(), f"{made.compression.name}: learning from dense"
    return trained(made, lambda: distill(made.backbone, teacher, pictures, access.distillation, access.runtime, label))


def reconstruct(backbone: Backbone, access: SourceAccess, solves: Mapping[str, reconstruction.Solve]) -> None:
    """Change layers, in order, to give dense's outputs on at most `reconstruction.PICTURES` source pictures."""
    pictures = backbone.normalised(access.pictures()[0][: reconstruction.PICTURES])
    reconstruction.reconstruct(backbone, access.dense(), pictures, solves)


def batches(backbone: Backbone, access: SourceAccess) -> Iterator[Tensor]:
    """Normalised source pictures in batches, as the model takes them."""
    return (backbone.normalised(chunk) for chunk in access.pictures()[0].split(BATCH))


def recalibrate(backbone: Backbone, access: SourceAccess) -> None:
    """New BatchNorm statistics: plain means over batches of source pictures."""
    update_bn(batches(backbone, access), backbone.eval().model)
