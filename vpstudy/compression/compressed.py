"""Compressed backbones: their size, saving and loading, and constraints during training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from vpstudy.compression import activations, layers, quantization
from vpstudy.compression.family import Compression
from vpstudy.compression.masks import Mask
from vpstudy.compression.registry import parse
from vpstudy.models import backbones
from vpstudy.models.backbones import Backbone


@dataclass(frozen=True)
class Compressed:
    """A backbone with compressed weights, and what keeps them compressed."""

    compression: Compression
    backbone: Backbone
    mask: Mask  # prunable weights that are left; all of them if nothing is pruned
    bits: int = 32  # of a weight as stored, but in the first and the last layer; 32 unless quantized
    scales: Mapping[str, torch.Tensor] = field(default_factory=dict)  # (C,), unless from the largest values
    activations: Mapping[str, torch.Tensor] = field(default_factory=dict)  # (scale, zero point) by weight, or empty

    def constrain(self, model: nn.Module) -> None:
        """Keep `model`, the backbone's or a copy of it, compressed during training."""
        if self.bits < 32:
            bits = layers.rounded(self.backbone, self.bits)
            quantization.constrain(model, {name: bits[name] for name in self.mask}, self.scales or None)
        elif self.mask.sparsity > 0:
            self.mask.constrain(model)

    def weights(self) -> torch.Tensor:
        """All prunable weights as one vector."""
        return torch.cat([weight.detach().flatten().cpu() for weight in self.backbone.prunable.values()])

    def facts(self) -> dict:
        """Size and sparsity, nominal and measured, over prunable weights and over all."""
        prunable = self.backbone.prunable
        others = sum(p.numel() for p in self.backbone.model.parameters()) - self.mask.size
        zeros = sum(int((p == 0).sum()) for p in prunable.values())
        return {
            "family": self.compression.family,
            "sparsity_nominal": self.compression.sparsity or 0.0,
            "sparsity": self.mask.sparsity,
            "zero_weights": zeros / self.mask.size,
            "sparsity_of_all": (self.mask.size - self.mask.kept) / (self.mask.size + others),
            "bits": self.bits,
            "activation_bits": self.compression.activation_bits or 32,
            "prunable": self.mask.size,
            "parameters": self.mask.size + others,
            "bytes": self._bytes(),
            "layers": {name: 1 - density for name, density in self.mask.layer_densities.items()},
        }

    def _bytes(self) -> int:
        """Stored size: 32-bit floats, and one mask bit per prunable weight if pruned; or integers and scales."""
        parameters = dict(self.backbone.model.named_parameters())
        bits = layers.rounded(self.backbone, self.bits) if self.bits < 32 else {}
        floats = sum(tensor.numel() for name, tensor in parameters.items() if name not in bits)
        integers = sum(quantization.packed_bytes(parameters[name], each) for name, each in bits.items())
        pruned = self.mask.size - self.mask.kept
        return 4 * (floats - pruned) + integers + (-(-self.mask.size // 8) if pruned else 0)

    def save(self, path: Path) -> None:
        scales = {f"scale.{name}": scale for name, scale in self.scales.items()}
        ranges = {f"activation.{name}": quantizer for name, quantizer in self.activations.items()}
        backbones.save(self.backbone, path, self.mask.to_tensors("mask.") | scales | ranges)


def load(path: Path, compression: str) -> Compressed:
    """Load what `Compressed.save` wrote."""
    parsed = parse(compression)
    tensors = load_file(path)
    scales, ranges = (
        {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in ("scale.", "activation.")
    )
    loaded = backbones.load(path)
    if ranges:
        activations.attach(loaded.model, ranges, layers.rounded(loaded, parsed.activation_bits))
    return Compressed(parsed, loaded, Mask.from_tensors(tensors, "mask."), parsed.bits or 32, scales, ranges)
