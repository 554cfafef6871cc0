"""Quantized multi-modal prompts (QMaPLe, arXiv 2407.10704): context, deep prompts and projections by codebooks.

The paper does not tell whether a codebook serves all layers or one; both are here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.prompts import codebook
from vpstudy.prompts.multimodal import MultimodalPrompt, Weights
from vpstudy.prompts.quantized import Log, Quantizer, Settings

Per = Literal["tensor", "layer"]
PER = ("tensor", "layer")
KINDS = ("context", "deep", "projections")


class LayerQuantizer(nn.Module):
    """A parametrization: a tensor (layers, …) with a codebook for each layer."""

    def __init__(self, values: Tensor, settings: Settings):
        super().__init__()
        self.layers = nn.ModuleList(Quantizer(layer, settings) for layer in values)

    def forward(self, values: Tensor) -> Tensor:
        return torch.stack([quantizer(layer) for quantizer, layer in zip(self.layers, values, strict=True)])

    def step(self, values: Tensor) -> None:
        """Take note of a step, after which the tensor is `values`; see `Quantizer`."""
        for quantizer, layer in zip(self.layers, values, strict=True):
            quantizer.step(layer)


@dataclass(frozen=True)
class QuantizedWeights:
    """The codebooks that `quantize` put on a prompt.

    Attributes
    ----------
    quantizers
        By kind: "context", "deep" (where the depth is above 1) and "projections".
    """

    weights: Weights
    quantizers: dict[str, Quantizer | LayerQuantizer]

    def plain(self, kind: str) -> Tensor:
        """The tensor in full, which is trained, without its graph."""
        return self.weights.parametrizations[kind].original.detach()

    def step(self) -> None:
        """Call it once after each step of the optimizer: codebooks are fitted anew where that is due."""
        for kind, quantizer in self.quantizers.items():
            quantizer.step(self.plain(kind))

    def logs(self) -> dict[str, list[Log]]:
        """What adaptive clustering did: by kind, of each codebook."""
        return {kind: [each.log for each in _each(quantizer)] for kind, quantizer in self.quantizers.items()}

    def packed(self) -> dict[str, list[codebook.Packed]]:
        """As it is stored: by kind, of each codebook."""
        return {
            kind: [
                each.packed(part)
                for each, part in zip(
                    _each(quantizer),
                    self.plain(kind) if isinstance(quantizer, LayerQuantizer) else [self.plain(kind)],
                    strict=True,
                )
            ]
            for kind, quantizer in self.quantizers.items()
        }

    @property
    def stored_bytes(self) -> int:
        """Of all codes and codebooks."""
        return sum(part.bytes for parts in self.packed().values() for part in parts)


def quantize(prompt: MultimodalPrompt, settings: Settings, per: Per = "tensor") -> QuantizedWeights:
    """Put codebooks on a prompt, in place, and on all that share its weights.

    Parameters
    ----------
    per
        "tensor": a codebook for the context, one for all deep prompts and one for all projections; "layer": one for
        each deep prompt and each projection.

    Raises
    ------
    ValueError
        If `per` is unknown, or the prompt is quantized already.
    """
    check_per(per)
    weights = prompt.weights
    if parametrize.is_parametrized(weights):
        raise ValueError("this prompt is quantized already; quantize a fresh one")
    quantizers = {}
    for kind in KINDS:
        values = getattr(weights, kind).detach()
        if not values.numel():
            continue  # no deep prompts at a depth of 1
        form = LayerQuantizer if per == "layer" and kind != "context" else Quantizer
        quantizers[kind] = form(values, settings)
        parametrize.register_parametrization(weights, kind, quantizers[kind])
    return QuantizedWeights(weights, quantizers)


def stored_bytes(n_context: int, depth: int, text_width: int, image_width: int, bits: int, per: Per = "tensor") -> int:
    """Bytes of a multi-modal prompt at `bits` bits a value with its codebooks; 16 or 32 bits have none."""
    check_per(per)
    of_prompt, of_projection = n_context * text_width, text_width * image_width
    sizes = [of_prompt]
    if per == "layer":
        sizes += [of_prompt] * (depth - 1) + [of_projection] * depth
    else:
        sizes += [of_prompt * (depth - 1), of_projection * depth]
    return sum(codebook.stored_bytes(size, bits) for size in sizes if size)


def check_per(per: str) -> None:
    """Raise ValueError for anything but "tensor" and "layer"."""
    if per not in PER:
        raise ValueError(f"per is {per!r}; allowed: {', '.join(PER)}")


def _each(quantizer: Quantizer | LayerQuantizer) -> list[Quantizer]:
    return list(quantizer.layers) if isinstance(quantizer, LayerQuantizer) else [quantizer]
