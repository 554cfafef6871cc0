"""Quantized multi-modal prompts (QMaPLe, arXiv 2407.10704): codebooks for context, deep prompts and projections.

All deep prompts share one codebook, and so do all projections; the paper does not say whether it has one per layer.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.utils import parametrize

from vpstudy.prompts import codebook, stored
from vpstudy.prompts.multimodal import MultimodalPrompt, Weights
from vpstudy.prompts.quantized import Quantizer, Settings

KINDS = ("context", "deep", "projections")


@dataclass(frozen=True)
class QuantizedWeights:
    """Weights of a multi-modal prompt and their quantizers by kind; "deep" only for depths above 1."""

    weights: Weights
    quantizers: dict[str, Quantizer]

    def plain(self, kind: str) -> Tensor:
        """The full-precision tensor that is trained, detached."""
        return self.weights.parametrizations[kind].original.detach()

    def step(self) -> None:
        """Call after each optimizer step: refits codebooks that are due."""
        for kind, quantizer in self.quantizers.items():
            quantizer.step(self.plain(kind))

    def packed(self) -> dict[str, codebook.Packed]:
        return {kind: quantizer.packed(self.plain(kind)) for kind, quantizer in self.quantizers.items()}

    def save(self, folder: Path) -> tuple[int, int]:
        """Write `<folder>/<kind>.vpq` for each kind. Returns bytes of all files, and of their headers."""
        packed = self.packed()
        for kind, part in packed.items():
            stored.save(part, folder / f"{kind}.vpq")
        size = sum((folder / f"{kind}.vpq").stat().st_size for kind in packed)
        return size, sum(stored.header_bytes(len(part.shape)) for part in packed.values())

    def load(self, folder: Path) -> Weights:
        """Plain weights with the values written by `save`."""
        weights = copy.deepcopy(self.weights)
        for kind in self.quantizers:
            parametrize.remove_parametrizations(weights, kind)
            values = getattr(weights, kind)
            values.data = stored.load(folder / f"{kind}.vpq").unpacked().to(values)
        return weights


def quantize(prompt: MultimodalPrompt, settings: Settings) -> QuantizedWeights:
    """Quantize a prompt in place, and all that share its weights. Raises ValueError if it is quantized already."""
    weights = prompt.weights
    if parametrize.is_parametrized(weights):
        raise ValueError("this prompt is quantized already; quantize a fresh one")
    tensors = {kind: getattr(weights, kind).detach() for kind in KINDS}
    quantizers = {kind: Quantizer(values, settings) for kind, values in tensors.items() if values.numel()}
    for kind, quantizer in quantizers.items():
        parametrize.register_parametrization(weights, kind, quantizer)
    return QuantizedWeights(weights, quantizers)


def stored_bytes(n_context: int, depth: int, text_width: int, image_width: int, bits: int) -> int:
    """Bytes of a multi-modal prompt at `bits` bits a value with its codebooks; none at 16 or 32 bits."""
    of_prompt = n_context * text_width
    sizes = (of_prompt, of_prompt * (depth - 1), text_width * image_width * depth)
    return sum(codebook.stored_bytes(size, bits) for size in sizes if size)
