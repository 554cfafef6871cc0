"""Quantization-aware training with learned step sizes (LSQ, Esser et al., ICLR 2020).

The step of each output channel of a weight and that of each layer input are trained together with the weights, here by
AdamW, whose normalisation undoes most of the paper's scaling of their gradients. Weights use the symmetric integers of
`quantization`; inputs use 0 … 2^b − 1, or −2^(b−1) … 2^(b−1) − 1 if calibration has seen negative values.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vpstudy.compression import activations
from vpstudy.compression.masks import constrain_weight
from vpstudy.compression.quantization import largest_integer


class _Rounded(torch.autograd.Function):
    """v → s · clamp(round(v / s), low, high), with the gradients of the paper's equations 3 and 5."""

    @staticmethod
    def forward(ctx, values: Tensor, step: Tensor, low: int, high: int, gain: float) -> Tensor:
        # Multiplied by 1 / step, as in `quantization`, so that the frozen weight is the same to the last bit.
        scaled = values * (1 / step)
        ctx.save_for_backward(scaled, step)
        ctx.low, ctx.high, ctx.gain = low, high, gain
        return scaled.round().clamp(low, high) * step

    @staticmethod
    def backward(ctx, gradient: Tensor):
        scaled, step = ctx.saved_tensors
        inside = (scaled > ctx.low) & (scaled < ctx.high)
        slope = torch.where(inside, scaled.round() - scaled, scaled.clamp(ctx.low, ctx.high))
        for_step = (gradient * slope).sum_to_size(step.shape) * ctx.gain
        return gradient * inside, for_step, None, None, None


class LearnedWeight(nn.Module):
    """Parametrization of a weight (C, ...), one step per channel. `steps` (C,) start at 2 mean|w| / √Q."""

    def __init__(self, weight: Tensor, bits: int):
        super().__init__()
        self.end = largest_integer(bits)
        start = 2 * weight.detach().abs().flatten(1).mean(1) / self.end**0.5
        self.steps = nn.Parameter(start.clamp_min(1e-8))
        self.gain = (weight[0].numel() * self.end) ** -0.5

    def forward(self, weight: Tensor) -> Tensor:
        steps = self.steps.abs().clamp_min(1e-8).view(-1, *[1] * (weight.dim() - 1))
        return _Rounded.apply(weight, steps, -self.end, self.end, self.gain)


class LearnedActivation(nn.Module):
    """Rounds a layer's input: a forward pre-hook, and a submodule of the layer so that its step is trained."""

    def __init__(self, sample: Tensor, bits: int):
        super().__init__()
        signed = bool((sample < 0).any())
        self.low, self.high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        self.step = nn.Parameter((2 * sample.abs().mean() / self.high**0.5).clamp_min(1e-8))

    def forward(self, values: Tensor) -> Tensor:
        gain = (values[0].numel() * self.high) ** -0.5
        return _Rounded.apply(values, self.step.abs().clamp_min(1e-8), self.low, self.high, gain)

    def __call__(self, *inputs):
        if len(inputs) == 2 and isinstance(inputs[0], nn.Module):  # as a hook: the layer and its inputs
            return (super().__call__(inputs[1][0]), *inputs[1][1:])
        return super().__call__(*inputs)

    def frozen(self) -> Tensor:
        """(scale, zero point) of the same rounding, for `activations.attach`."""
        return torch.tensor([self.step.abs().clamp_min(1e-8).item(), float(-self.low)])


def attach(
    model: nn.Module, bits: Mapping[str, int], activation_bits: Mapping[str, int], batches: Iterable[Tensor]
) -> None:
    """Quantize weights and the inputs of their layers to the bits given, with steps that are parameters of `model`.

    The first of `batches` sets the initial steps and the signs of activations. Raises ValueError for bits outside 2 … 8
    or a layer that it does not reach.
    """
    for each in {*bits.values(), *activation_bits.values()}:
        largest_integer(each)
    samples: dict[str, Tensor] = {}
    model.eval()  # measuring must not change BatchNorm statistics
    activations.observe(model, bits, islice(batches, 1), samples.__setitem__)
    for name in bits:
        layer = activations.owner(model, name)
        layer.learned_activation = LearnedActivation(samples[name], activation_bits[name])
        layer.learned_hook = layer.register_forward_pre_hook(layer.learned_activation)
        constrain_weight(model, name, LearnedWeight(layer.weight, bits[name]))


def freeze(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """End the training; return scales (C,) and (scale, zero point) of the input, by weight.

    Weights are left rounded, without hooks; with `activations.attach` the model computes what the trained one did.
    """
    scales, ranges = {}, {}
    for name, layer in list(model.named_modules()):
        if not hasattr(layer, "learned_hook"):
            continue
        learned = layer.parametrizations.weight[0]
        weight = f"{name}.weight"
        scales[weight] = learned.steps.detach().abs().clamp_min(1e-8).clone()
        ranges[weight] = layer.learned_activation.frozen()
        layer.learned_hook.remove()
        del layer.learned_hook, layer.learned_activation
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return scales, ranges
