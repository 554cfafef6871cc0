"""Activation quantization: the input of each layer is rounded to 2 … 8 bits, one range per layer, simulated.

A scale and a zero point per layer map the integers 0 … 2^b − 1 to a range that includes 0, so that padding stays exact.
Ranges are measured on source pictures and then fixed, also in fine-tuning on a target. The normalised picture with its
prompt is rounded too; the products inside attention are not. Gradients pass straight through inside the range and
vanish outside. Layers are named by their weights.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from vpstudy.compression.family import MAX_BITS, MIN_BITS

CANDIDATES = 100  # ranges tried by "mse"
SAMPLE = 50_000  # least number of values per batch, if there are as many, on which "mse" measures errors


class Quantizer:
    """Forward pre-hook that rounds the input of a layer; it is copied with its layer."""

    def __init__(self, scale: float, zero_point: int, bits: int):
        self.scale, self.zero_point, self.bits = scale, zero_point, bits

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *others = inputs
        return fake_quantize(first, self.scale, self.zero_point, self.bits), *others


def fake_quantize(values: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    """Round `values` to scale · (q − zero_point) with q in 0 … 2^bits − 1; gradients pass inside the range."""
    return _Rounded.apply(values, scale, -zero_point, 2**bits - 1 - zero_point)


class _Rounded(torch.autograd.Function):
    """`torch.fake_quantize_per_tensor_affine`, in place: that writes a mask and multiplies by it, twice as slow."""

    @staticmethod
    def forward(ctx, values: Tensor, scale: float, least: int, most: int) -> Tensor:
        ctx.save_for_backward(values)
        ctx.ends = (least - 0.5) * scale, (most + 0.5) * scale
        rounded = values.to(torch.float32, copy=True).mul_(1 / np.float32(scale)).round_()
        return rounded.clamp_(least, most).mul_(scale).to(values.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.ops.aten.hardtanh_backward(gradient, *ctx.saved_tensors, *ctx.ends), None, None, None


@torch.no_grad()
def calibrate(
    model: nn.Module, bits: Mapping[str, int], batches: Iterable[Tensor], ranges: str = "minmax"
) -> dict[str, Tensor]:
    """Measure the scale and zero point, (2,), for the input of each layer in `bits`, in floating point.

    "minmax" takes the range from the smallest to the largest value, "mse" the part of it with least squared error.
    Raises ValueError for bits outside 2 … 8, unknown `ranges`, or a layer that no batch reaches.
    """
    if not {*bits.values()} <= {*range(MIN_BITS, MAX_BITS + 1)} or ranges not in ("minmax", "mse"):
        raise ValueError(f"{bits=}, {ranges=}: give {MIN_BITS} to {MAX_BITS} bits, and minmax or mse")
    ends: dict[str, tuple[float, float]] = {}
    samples: dict[str, list[Tensor]] = {name: [] for name in bits}

    def see(name: str, values: Tensor) -> None:
        low, high = ends.get(name, (0.0, 0.0))
        ends[name] = min(low, values.min().item()), max(high, values.max().item())
        flat = values.flatten()
        samples[name].append(flat[:: max(1, len(flat) // SAMPLE)])

    observe(model, bits, batches, see)
    return {name: _narrowed(*ends[name], torch.cat(samples[name]), each, ranges) for name, each in bits.items()}


@torch.no_grad()
def observe(
    model: nn.Module, names: Collection[str], batches: Iterable[Tensor], see: Callable[[str, Tensor], None]
) -> None:
    """Show `see` what enters the layers of the named weights, float32, at each forward pass of a batch.

    Raises ValueError if a layer is not reached.
    """
    missed = dict.fromkeys(names)

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], name: str) -> None:
        missed.pop(name, None)
        see(name, inputs[0].float())

    hooks = [owner(model, name).register_forward_pre_hook(partial(hook, name=name)) for name in names]
    try:
        for batch in batches:
            model(batch)
    finally:
        for each in hooks:
            each.remove()
    if missed:
        raise ValueError(f"no input has reached these layers, so they cannot be rounded: {', '.join(missed)}")


def attach(model: nn.Module, quantizers: Mapping[str, Tensor], bits: Mapping[str, int]) -> None:
    """Add hooks that round the inputs of layers to their `bits`; `quantizers` are (scale, zero point) by layer."""
    for name, (scale, zero_point) in quantizers.items():
        hook = Quantizer(float(scale), round(float(zero_point)), bits[name])
        owner(model, name).register_forward_pre_hook(hook)


def owner(model: nn.Module, weight: str) -> nn.Module:
    """The layer of this weight."""
    return model.get_submodule(weight.rpartition(".")[0])


def affine(low: float, high: float, bits: int) -> Tensor:
    """Scale and zero point, (2,), of the range from `low` <= 0 to `high` >= 0; an empty range has scale 1."""
    if high - low < 1e-12:
        return torch.tensor([1.0, 0.0])
    scale = (high - low) / (2**bits - 1)
    return torch.tensor([scale, float(min(max(round(-low / scale), 0), 2**bits - 1))])


def _narrowed(low: float, high: float, sample: Tensor, bits: int, ranges: str) -> Tensor:
    whole = affine(low, high, bits)
    if ranges == "minmax":
        return whole
    tried = [affine(low * share / CANDIDATES, high * share / CANDIDATES, bits) for share in range(CANDIDATES, 0, -1)]

    def error(quantizer: Tensor) -> float:
        scale, zero_point = quantizer.tolist()
        return (fake_quantize(sample, scale, round(zero_point), bits) - sample).square().sum().item()

    return min(tried, key=error)
