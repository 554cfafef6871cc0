"""Quantized multi-modal prompts (QMaPLe, arXiv 2407.10704): context, deep prompts and projections by codebooks.

The paper does not say whether a codebook serves all layers or one; both are here.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.prompts import codebook, stored
from vpstudy.prompts.multimodal import MultimodalPrompt, Weights
from vpstudy.prompts.quantized import Log, Quantizer, Settings

KINDS = ("context", "deep", "projections")


class Codebooks(nn.Module):
    """A parametrization: a tensor with one codebook, or (layers, …) with one for each layer."""

    def __init__(self, values: Tensor, settings: Settings, per_layer: bool):
        super().__init__()
        self._per_layer = per_layer
        self.quantizers = nn.ModuleList(Quantizer(part, settings) for part in self._parts(values))

    def _parts(self, values: Tensor) -> list[Tensor]:
        return list(values) if self._per_layer else [values]

    def forward(self, values: Tensor) -> Tensor:
        parts = [by(part) for by, part in zip(self.quantizers, self._parts(values), strict=True)]
        return torch.stack(parts) if self._per_layer else parts[0]

    def step(self, values: Tensor) -> None:
        """Take note of a step, after which the tensor is `values`; see `Quantizer`."""
        for by, part in zip(self.quantizers, self._parts(values), strict=True):
            by.step(part)

    def packed(self, values: Tensor) -> list[codebook.Packed]:
        """As each part is stored."""
        return [by.packed(part) for by, part in zip(self.quantizers, self._parts(values), strict=True)]


@dataclass(frozen=True)
class QuantizedWeights:
    """The codebooks that `quantize` put on a prompt, by kind: "context", "deep" (depths above 1), "projections"."""

    weights: Weights
    codebooks: dict[str, Codebooks]

    def plain(self, kind: str) -> Tensor:
        """The tensor in full, which is trained, without its graph."""
        return self.weights.parametrizations[kind].original.detach()

    def step(self) -> None:
        """Call it once after each step of the optimizer: codebooks are fitted again where that is due."""
        for kind, books in self.codebooks.items():
            books.step(self.plain(kind))

    def logs(self) -> dict[str, list[Log]]:
        """What adaptive clustering did: by kind, of each codebook."""
        return {kind: [by.log for by in books.quantizers] for kind, books in self.codebooks.items()}

    def packed(self) -> dict[str, list[codebook.Packed]]:
        """As it is stored: by kind, of each codebook."""
        return {kind: books.packed(self.plain(kind)) for kind, books in self.codebooks.items()}

    @property
    def stored_bytes(self) -> int:
        """Of all codes and codebooks."""
        return sum(part.bytes for parts in self.packed().values() for part in parts)

    def save(self, folder: Path) -> tuple[int, int]:
        """Write `<folder>/<kind>-<number>.vpq` for each codebook; bytes of all files, and of these in their headers."""
        size = headers = 0
        for kind, parts in self.packed().items():
            for k, part in enumerate(parts):
                place = Path(folder) / f"{kind}-{k}.vpq"
                stored.save(part, place)
                size, headers = size + place.stat().st_size, headers + stored.header_bytes(len(part.shape))
        return size, headers

    def load(self, folder: Path) -> Weights:
        """Plain weights, with the values that `save` wrote; what is held here gives their shapes alone."""
        weights = copy.deepcopy(self.weights)
        for kind, parts in self.packed().items():
            read = [stored.load(Path(folder) / f"{kind}-{k}.vpq").unpacked() for k in range(len(parts))]
            parametrize.remove_parametrizations(weights, kind)
            values = getattr(weights, kind)
            values.data = torch.stack(read).to(values).view_as(values)
        return weights


def quantize(prompt: MultimodalPrompt, settings: Settings, per_layer: bool = False) -> QuantizedWeights:
    """Put codebooks on a prompt, in place, and on all that share its weights.

    Parameters
    ----------
    per_layer
        A codebook for each deep prompt and each projection, in place of one for all of a kind.

    Raises
    ------
    ValueError
        If the prompt is quantized already.
    """
    weights = prompt.weights
    if parametrize.is_parametrized(weights):
        raise ValueError("this prompt is quantized already; quantize a fresh one")
    codebooks = {}
    for kind in KINDS:
        values = getattr(weights, kind).detach()
        if values.numel():  # no deep prompts at a depth of 1
            codebooks[kind] = Codebooks(values, settings, per_layer and kind != "context")
            parametrize.register_parametrization(weights, kind, codebooks[kind])
    return QuantizedWeights(weights, codebooks)


def stored_bytes(
    n_context: int, depth: int, text_width: int, image_width: int, bits: int, per_layer: bool = False
) -> int:
    """Bytes of a multi-modal prompt at `bits` bits a value with its codebooks; 16 or 32 bits have none."""
    of_prompt, of_projection = n_context * text_width, text_width * image_width
    sizes = [of_prompt]
    if per_layer:
        sizes += [of_prompt] * (depth - 1) + [of_projection] * depth
    else:
        sizes += [of_prompt * (depth - 1), of_projection * depth]
    return sum(codebook.stored_bytes(size, bits) for size in sizes if size)
