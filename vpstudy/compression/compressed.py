"""Compressed backbones: their size, how they are stored and loaded, and kept compressed in training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from vpstudy.compression import activations, quantization
from vpstudy.compression.family import Compression
from vpstudy.compression.masks import Mask
from vpstudy.compression.registry import parse
from vpstudy.models import backbones
from vpstudy.models.backbones import Backbone


@dataclass(frozen=True)
class Compressed:
    """A backbone whose weights are already compressed, and what keeps them so.

    Attributes
    ----------
    mask
        Which prunable weights are left; every one of them for a compression that prunes nothing.
    bits
        Width of a prunable weight as stored: 32 unless quantized.
    scales
        Of each quantized weight, (C,), where they do not follow from its largest value.
    activations
        Scale and zero point of what enters each layer, (2,); empty where activations stay in floating point.
    """

    compression: Compression
    backbone: Backbone
    mask: Mask
    bits: int = 32
    scales: Mapping[str, torch.Tensor] = field(default_factory=dict)
    activations: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def constrain(self, model: nn.Module) -> None:
        """Keep a copy of the backbone's model compressed while it is trained."""
        if self.bits < 32:
            quantization.constrain(model, list(self.mask), self.bits, self.scales or None)
        elif self.mask.sparsity > 0:
            self.mask.constrain(model)

    def weights(self) -> torch.Tensor:
        """Every weight that compression works on, as one vector."""
        return torch.cat([weight.detach().flatten().cpu() for weight in self.backbone.prunable.values()])

    def facts(self) -> dict:
        """Size and sparsity: nominal beside measured, over the weights that compression works on and over all."""
        prunable = self.backbone.prunable
        others = sum(p.numel() for p in self.backbone.model.parameters()) - self.mask.size
        zeros = sum(int((p == 0).sum()) for p in prunable.values())
        whole = Backbone(self.backbone.architecture, self.backbone.class_names)  # with every channel
        prunable_dense = sum(p.numel() for p in whole.prunable.values())
        parameters_dense = sum(p.numel() for p in whole.model.parameters())
        return {
            "family": self.compression.family,
            "sparsity_nominal": self.compression.sparsity or 0.0,
            "sparsity": 1 - self.mask.kept / prunable_dense,
            "zero_weights": zeros / self.mask.size,
            "sparsity_of_all": 1 - (self.mask.kept + others) / parameters_dense,
            "bits": self.bits,
            "activation_bits": self.compression.activation_bits or 32,
            "prunable": self.mask.size,
            "parameters": self.mask.size + others,
            "bytes": self._bytes(others),
            "layers": {name: 1 - density for name, density in self.mask.layer_densities.items()},
        }

    def _bytes(self, others: int) -> int:
        """Stored size: 32-bit floats; a bit a weight where a mask says what is left; integers and scales."""
        if self.bits < 32:
            return 4 * others + quantization.packed_bytes(self.backbone.prunable, self.bits)
        pruned = self.mask.kept < self.mask.size
        return 4 * (others + self.mask.kept) + (-(-self.mask.size // 8) if pruned else 0)

    def save(self, path: Path) -> None:
        scales = {f"scale.{name}": scale for name, scale in self.scales.items()}
        ranges = {f"activation.{name}": quantizer for name, quantizer in self.activations.items()}
        backbones.save(self.backbone, path, self.mask.to_tensors("mask.") | scales | ranges)


def load(path: Path, compression: str) -> Compressed:
    """What `Compressed.save` wrote to `path`."""
    parsed = parse(compression)
    tensors = load_file(path)
    scales, ranges = (
        {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in ("scale.", "activation.")
    )
    loaded = backbones.load(path)
    activations.attach(loaded.model, ranges, parsed.activation_bits)
    return Compressed(parsed, loaded, Mask.from_tensors(tensors, "mask."), parsed.bits or 32, scales, ranges)
