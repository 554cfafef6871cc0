"""Compressed backbones: their size, how they are stored and loaded, and kept compressed in training."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from vpstudy import backbones, paths
from vpstudy.backbones import Backbone
from vpstudy.compression import quantization
from vpstudy.compression.masks import Mask
from vpstudy.compression.names import Compression, parse


@dataclass(frozen=True)
class Compressed:
    """A backbone whose weights are already compressed, and what keeps them so.

    Attributes
    ----------
    mask
        Which prunable weights are left; every one of them for a compression that prunes nothing.
    bits
        Width of a prunable weight as stored: 32 unless quantized.
    """

    compression: Compression
    backbone: Backbone
    mask: Mask
    bits: int = 32

    def constrain(self, model: nn.Module) -> None:
        """Keep a copy of the backbone's model compressed while it is trained."""
        if self.bits < 32:
            quantization.constrain(model, self.mask.names, self.bits)
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
        return {
            "family": self.compression.family,
            "sparsity_nominal": self.compression.sparsity or 0.0,
            "sparsity": 1 - self.mask.density,
            "zero_weights": zeros / self.mask.size,
            "sparsity_of_all": (self.mask.size - self.mask.kept) / (self.mask.size + others),
            "bits": self.bits,
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
        backbones.save(self.backbone, path, self.mask.to_tensors("mask."))


def load(backbone: str, compression: str, path: Path) -> Compressed:
    """What `Compressed.save` wrote to `path`."""
    parsed = parse(compression)
    mask = Mask.from_tensors(load_file(path), "mask.")
    return Compressed(parsed, backbones.load(backbone, path), mask, parsed.bits or 32)


def obtain(scale: str, backbone: str, compression: str) -> Compressed:
    """The stored compression of a backbone, or one made on the spot where the grid has none (nothing is written).

    Raises
    ------
    ValueError
        If the name is no compression.
    FileNotFoundError
        If what it is made from is not there either; the message says which stage makes it.
    """
    folder = paths.MODELS / scale / backbone
    path = folder / f"{compression}.safetensors"
    if path.exists():
        return load(backbone, compression, path)
    from vpstudy.compression.making import (
        make,  # not above: a new way of making re-runs no stored one's cells
    )

    return make(backbone, compression, folder)
