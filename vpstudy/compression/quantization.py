"""Weight quantization: symmetric, one scale per output channel, 2 … 8 bits, simulated in floating point.

Integers of b bits run from -(2^(b-1) - 1) to 2^(b-1) - 1 (4 bits: -7 … 7); the scale of a channel is
max|w| / (2^(b-1) - 1). Without -2^(b-1) nothing is clipped and the straight-through gradient is the identity, w and -w
are treated alike, and quantizing again changes nothing: fine-tuning starts from the compressed network. At 2 bits
weights are ternary: those below max|w| / 2 become zero. Smaller scales (`mse_scales`, or learned ones) clip weights
beyond the range, which then get no gradient.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vpstudy.compression.family import MAX_BITS, MIN_BITS
from vpstudy.compression.masks import constrain_weight

SCALE_BYTES = 4  # float32
CANDIDATES = 100  # ranges tried by `mse_scales`


def largest_integer(bits: int) -> int:
    """2^(bits - 1) - 1, the end of the range. Raises ValueError unless bits is a whole number from 2 to 8."""
    if bits not in range(MIN_BITS, MAX_BITS + 1):
        raise ValueError(f"bits must be a whole number from {MIN_BITS} to {MAX_BITS}, got {bits}")
    return 2 ** (bits - 1) - 1


def mse_scales(weight: Tensor, bits: int) -> Tensor:
    """Scales (C,) of least squared error for a weight (C, ...), from 1 %, 2 %, …, 100 % of the largest value."""
    weight = weight.detach()
    widest = _round(weight, bits)[1]
    best, scales = torch.full_like(widest, torch.inf), widest.clone()
    for share in range(CANDIDATES, 0, -1):
        tried = widest * share / CANDIDATES
        error = (fake_quantize(weight, bits, tried).float() - weight.float()).square().flatten(1).sum(1)
        scales = torch.where(error < best, tried, scales)
        best = torch.minimum(best, error)
    return scales


def quantize_weight(weight: Tensor, bits: int, scales: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Quantize a weight (C, ...), output channels first, to int8 integers (C, ...) and float32 scales (C,).

    Unless given, scales follow from each channel's largest value; a channel of zeros has scale 1. Raises ValueError for
    bits outside 2 … 8, fewer than two dimensions, and values that are not finite.
    """
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("cannot quantize a weight that is not finite (did training diverge?)")
    integers, scales = _round(weight.detach(), bits, scales)
    return integers.to(torch.int8), scales


def dequantize(integers: Tensor, scales: Tensor) -> Tensor:
    """Integers (C, ...) times their channel scales (C,): float32 (C, ...)."""
    return integers.float() * _per_channel(scales, integers)


def fake_quantize(weight: Tensor, bits: int, scales: Tensor | None = None) -> Tensor:
    """`dequantize(*quantize_weight(weight, bits, scales))` in the weight's dtype, without gradient.

    Unlike in `quantize_weight` NaN passes, so that divergence shows in the loss; other errors are the same.
    """
    return dequantize(*_round(weight.detach(), bits, scales)).to(weight.dtype)


def constrain(module: nn.Module, bits: Mapping[str, int], scales: Mapping[str, Tensor] | None = None) -> None:
    """Keep the weights of `module` named in `bits` quantized during training, until `masks.release(module)`.

    The forward pass sees `fake_quantize(weight, bits, scales)`; gradients pass straight through (Bengio et al., 2013)
    to the unrounded `conv.parametrizations.weight.original`. Raises ValueError, before any change, for bits outside
    2 … 8.
    """
    for each in bits.values():
        largest_integer(each)
    for name, each in bits.items():
        constrain_weight(module, name, _Quantized(each, scales and scales[name]))


def packed_bytes(weight: Tensor, bits: int) -> int:
    """Bytes of a weight (C, ...) at `bits` bits a value, packed, plus one float32 scale per channel."""
    largest_integer(bits)
    return -(-bits * weight.numel() // 8) + SCALE_BYTES * len(weight)


class _Quantized(nn.Module):
    def __init__(self, bits: int, scales: Tensor | None):
        super().__init__()
        self.bits = bits
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return _StraightThrough.apply(weight, self.bits, self.scales)


class _StraightThrough(torch.autograd.Function):
    """The rounded weight to the last bit, which the usual w + (rounded - w).detach() does not guarantee."""

    @staticmethod
    def forward(ctx, weight: Tensor, bits: int, scales: Tensor | None) -> Tensor:
        ctx.inside = None
        if scales is not None:
            ctx.inside = weight.abs() <= _per_channel(scales, weight) * (largest_integer(bits) + 0.5)
        return fake_quantize(weight, bits, scales)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient if ctx.inside is None else gradient * ctx.inside, None, None


def _round(weight: Tensor, bits: int, scales: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Integers, still as float32, and scales. Multiplies by 1 / scale, as torch's own kernel does."""
    end = largest_integer(bits)
    if weight.dim() < 2:
        raise ValueError(f"a weight needs at least two dimensions, channels first, got {list(weight.shape)}")
    weight = weight.float()
    if scales is not None:
        return (weight * _per_channel(1 / scales, weight)).round().clamp(-end, end), scales
    scales = weight.abs().flatten(1).amax(1) / end
    scales = scales.masked_fill(scales < torch.finfo(torch.float32).tiny, 1.0)
    return (weight * _per_channel(1 / scales, weight)).round(), scales


def _per_channel(values: Tensor, weight: Tensor) -> Tensor:
    return values.view(-1, *[1] * (weight.dim() - 1))
