"""How each family of compressions is made from the source checkpoint: one function and one line in MAKERS each."""

from collections.abc import Callable
from pathlib import Path

import torch

from vpstudy import backbones
from vpstudy.backbones import Backbone
from vpstudy.compression import quantization
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.iterative import load_round, round_path
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import Mask
from vpstudy.compression.names import Compression, parse


def _dense(backbone: Backbone, compression: Compression, folder: Path) -> tuple[Mask, int]:
    return Mask.dense(backbone.prunable), 32


def _imp(backbone: Backbone, compression: Compression, folder: Path) -> tuple[Mask, int]:
    path = round_path(folder / "imp", compression.sparsity)
    if not path.exists():
        raise FileNotFoundError(
            f"IMP has written no round at {compression.sparsity:.2f}: put that sparsity into imp.rounds "
            "of params.yaml, then `dvc repro` (stage imp)"
        )
    weights, mask = load_round(path)
    backbone.model.load_state_dict(weights)
    return mask, 32


def _magnitude(backbone: Backbone, compression: Compression, folder: Path) -> tuple[Mask, int]:
    mask = magnitude(backbone.prunable, compression.sparsity)
    mask.apply_(backbone.prunable)
    return mask, 32


def _integers(backbone: Backbone, compression: Compression, folder: Path) -> tuple[Mask, int]:
    with torch.no_grad():
        for weight in backbone.prunable.values():
            weight.copy_(quantization.fake_quantize(weight, compression.bits))
    return Mask.dense(backbone.prunable), compression.bits


Maker = Callable[[Backbone, Compression, Path], tuple[Mask, int]]
MAKERS: dict[str, Maker] = {"dense": _dense, "imp": _imp, "magnitude": _magnitude, "int": _integers}


def make(backbone: str, compression: str, folder: Path) -> Compressed:
    """Compress the source checkpoint in `folder` as the name `compression` says.

    Raises
    ------
    ValueError
        If the name is no compression.
    FileNotFoundError
        If the source checkpoint, or the round of IMP that the name picks, is not there.
    """
    parsed = parse(compression)
    model = backbones.load(backbone, folder / "source.safetensors")
    mask, bits = MAKERS[parsed.family](model, parsed, folder)
    return Compressed(parsed, model, mask, bits)
