"""A quantized multi-modal prompt as files of few bits, one for each codebook (`stored`)."""

import copy
from pathlib import Path

import torch
from torch.nn.utils import parametrize

from vpstudy.prompts import stored
from vpstudy.prompts.multimodal import Weights
from vpstudy.prompts.multimodal_quantized import QuantizedWeights


def save(quantized: QuantizedWeights, folder: Path) -> tuple[int, int]:
    """Write `<folder>/<kind>-<number>.vpq` for each codebook; bytes of all files, and of these in their headers."""
    size = headers = 0
    for kind, parts in quantized.packed().items():
        for k, part in enumerate(parts):
            place = Path(folder) / f"{kind}-{k}.vpq"
            stored.save(part, place)
            size, headers = size + place.stat().st_size, headers + stored.header_bytes(len(part.shape))
    return size, headers


def load(quantized: QuantizedWeights, folder: Path) -> Weights:
    """Plain weights, with the values that `save` wrote; what `quantized` itself holds gives their shapes alone."""
    weights = copy.deepcopy(quantized.weights)
    for kind, parts in quantized.packed().items():
        read = [stored.load(Path(folder) / f"{kind}-{k}.vpq").unpacked() for k in range(len(parts))]
        parametrize.remove_parametrizations(weights, kind)
        values = getattr(weights, kind)
        values.data = torch.stack(read).to(values).view_as(values)
    return weights
