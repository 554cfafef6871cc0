"""Steps shared by several families of compressions."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from vpstudy.compression import activations, quantization
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.distillation import distill
from vpstudy.compression.family import Compression
from vpstudy.compression.masks import Mask, release
from vpstudy.compression.source_access import NoSourceAccess, SourceAccess
from vpstudy.models.backbones import Backbone

BATCH = 128  # pictures per forward pass


def pruned(compression: Compression, backbone: Backbone, mask: Mask | None = None) -> Compressed:
    """Apply `mask` to `backbone`; by default every weight is kept."""
    mask = mask or Mask.dense(backbone.prunable)
    mask.apply_(backbone.prunable)
    return Compressed(compression, backbone, mask)


def quantized(
    compression: Compression,
    backbone: Backbone,
    ranges: dict[str, Tensor],
    scales: dict[str, Tensor] | None = None,
) -> Compressed:
    """Round the weights of `backbone`, by `scales` (C,) if given, and layer inputs by `ranges` (scale, zero point)."""
    if compression.ranges == "mse":
        scales = {name: quantization.mse_scales(w, compression.bits) for name, w in backbone.prunable.items()}
    with torch.no_grad():
        for name, weight in backbone.prunable.items():
            weight.copy_(quantization.fake_quantize(weight, compression.bits, scales and scales[name]))
    activations.attach(backbone.model, ranges, compression.activation_bits)
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


def batches(backbone: Backbone, access: SourceAccess) -> Iterator[Tensor]:
    """Normalised source pictures in batches, as the model takes them."""
    return (backbone.normalised(chunk) for chunk in access.pictures()[0].split(BATCH))


def recalibrate(backbone: Backbone, access: SourceAccess) -> None:
    """New BatchNorm statistics: plain means over batches of source pictures."""
    update_bn(batches(backbone, access), backbone.eval().model)
