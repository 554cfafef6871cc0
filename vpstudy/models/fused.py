"""Frozen backbones made faster: BatchNorm folded into convolutions, and another gradient of depthwise convolutions."""

import copy
import warnings
from collections import defaultdict

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, pad_same
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vpstudy.models.backbones import Backbone
from vpstudy.models.depthwise import is_depthwise

NORMS = (nn.BatchNorm2d, BatchNormAct2d)
TOLERANCE = 1e-4  # largest difference of logits and features, as a share of the largest value; folding rounds by 1e-6


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (nn.Conv2d, *NORMS)) or super().is_leaf_module(module, name)


def norms_after(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Convolutions with the BatchNorm that is the only reader of all their outputs, and reads nothing else.

    In eval mode, by torch.fx, which raises errors of many kinds where it cannot follow a network.
    """
    modules, calls, found = dict(model.named_modules()), defaultdict(list), {}
    if not any(isinstance(module, NORMS) for module in modules.values()):
        return found
    for node in _Tracer().trace(model).nodes:
        if node.op == "call_module":
            calls[modules[node.target]].append(node)
    for convolution, outputs in calls.items():
        readers = {reader for output in outputs for reader in output.users}
        norm = next((modules[reader.target] for reader in readers if reader.op == "call_module"), None)
        reading = {*calls.get(norm, ())}
        kinds = isinstance(convolution, nn.Conv2d) and type(norm) in NORMS
        if kinds and readers == reading and {each for call in reading for each in call.all_input_nodes} == {*outputs}:
            found[convolution] = norm
    return found


def fused(backbone: Backbone, size: int = 32) -> Backbone:
    """Frozen copy with the same outputs, up to rounding, that needs a fifth less time per step.

    Where depthwise convolutions have strides, as in MobileNets, it needs about half the time (`_Depthwise`).

    In eval mode a BatchNorm is one factor and one shift per channel, which the convolution can apply itself. torch.fx
    tells who reads what, so no list of architectures is needed. Quantizers of layer inputs stay in place. Outputs for a
    picture of side `size` (px) are compared once; where they differ, or torch.fx cannot follow the network, nothing is
    folded and a warning says so.
    """
    plain = copy.deepcopy(backbone).frozen()
    folded = copy.deepcopy(plain)
    picture = torch.rand(1, 3, size, size, device=next(plain.parameters()).device)
    try:
        pairs = norms_after(folded.model)
    except Exception as error:
        warnings.warn(f"{backbone.name} is used without folding its BatchNorm: {error}", stacklevel=2)
        return plain
    names = {module: name for name, module in folded.named_modules()}
    for convolution, norm in pairs.items():
        folded.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        # timm's BatchNormAct2d also applies dropout and activation
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        folded.set_submodule(names[norm], rest)
    for name, module in list(folded.named_modules()):
        if is_depthwise(module) and max(module.stride) > 1:
            folded.set_submodule(name, _Depthwise(module))
    folded.model.to(memory_format=torch.channels_last)
    if (difference := _difference(plain, folded, picture)) > TOLERANCE:
        warnings.warn(
            f"{backbone.name} is used without folding its BatchNorm, which would change its outputs by "
            f"{difference:.1g} of the largest",
            stacklevel=2,
        )
        return plain
    return folded.frozen()


class _Depthwise(nn.Module):
    """A depthwise convolution with a stride and fixed weights, whose gradient is a convolution without one.

    Torch's own gradient takes a slow path on CPUs: four such layers of EfficientNet-Lite0 took 62 % of a prompt's step.
    """

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.weight, self.bias, self.stride = layer.weight, layer.bias, layer.stride
        self.same = isinstance(layer, Conv2dSame)  # pads as TensorFlow does
        self.padding = (0, 0) if self.same else layer.padding
        self._forward_pre_hooks = layer._forward_pre_hooks  # quantizers

    def forward(self, pictures: Tensor) -> Tensor:
        if self.same:
            pictures = pad_same(pictures, self.weight.shape[2:], self.stride)
        return _WithStride.apply(pictures, self.weight, self.bias, self.stride, self.padding)


class _WithStride(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pictures, weight, bias, stride, padding):
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding = pictures.shape, stride, padding
        return F.conv2d(pictures, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient):
        """Zeros between the gradient's values make it that of a convolution without stride."""
        (weight,) = ctx.saved_tensors
        sides = [n + 2 * p - k + 1 for n, p, k in zip(ctx.shape[2:], ctx.padding, weight.shape[2:], strict=True)]
        like = {"dtype": gradient.dtype, "device": gradient.device, "memory_format": torch.channels_last}
        spread = torch.empty(*gradient.shape[:2], *sides, **like).zero_()
        spread[..., :: ctx.stride[0], :: ctx.stride[1]] = gradient
        outer = [k - 1 - p for p, k in zip(ctx.padding, weight.shape[2:], strict=True)]
        flipped = weight.flip(2, 3).to(gradient.dtype)
        return F.conv2d(spread, flipped, padding=outer, groups=len(weight)), None, None, None, None


def _difference(one: Backbone, other: Backbone, picture: Tensor) -> float:
    """Largest difference of logits or features, as a share of the largest value; quantizers are left out."""
    outputs = []
    for backbone in (one, other):
        bare = copy.deepcopy(backbone)
        for module in bare.modules():
            module._forward_pre_hooks.clear()  # a value between two steps of a quantizer may fall to either side
        with torch.no_grad():
            outputs.append((bare(picture), bare.features(picture)))
    shares = [(a - b).abs().max() / a.abs().max().clamp_min(1e-12) for a, b in zip(*outputs, strict=True)]
    return torch.stack(shares).nan_to_num(torch.inf).max().item()
