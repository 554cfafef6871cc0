"""Depthwise convolutions that train faster on CPUs: their gradients are computed in 32 bits or more.

In bfloat16, torch's own take a slow path where there is a stride or a 5 × 5 kernel: of a training step
of EfficientNet-Lite0 (32 pictures of 128 px, one core) they were two thirds.
"""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn


class Depthwise(nn.Conv2d):
    """A depthwise convolution with the weights of `layer`, which it shares."""

    def __init__(self, layer: nn.Conv2d):
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)
        self.same = isinstance(layer, Conv2dSame)  # pads as TensorFlow does

    def forward(self, pictures: Tensor) -> Tensor:
        if self.same:
            pictures = pad_same(pictures, self.kernel_size, self.stride)
        padding = (0, 0) if self.same else self.padding
        values = _Convolution.apply(pictures, self.weight, self.stride, padding)
        return values if self.bias is None else values + self.bias[:, None, None]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pictures, weight, stride, padding):
        ctx.save_for_backward(pictures, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(pictures, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient):
        pictures, weight = ctx.saved_tensors
        kind = torch.promote_types(gradient.dtype, torch.float32)
        of_pictures, of_weight, _ = torch.ops.aten.convolution_backward(
            *(each.to(kind) for each in (gradient, pictures, weight)),
            None,
            ctx.stride,
            ctx.padding,
            (1, 1),
            False,
            (0, 0),
            len(weight),
            (*ctx.needs_input_grad[:2], False),
        )
        return (
            of_pictures.to(pictures.dtype) if ctx.needs_input_grad[0] else None,
            of_weight.to(weight.dtype) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


def quicken(model: nn.Module) -> None:
    """Replace slow depthwise convolutions of `model`, in place; names and weights stay."""
    for name, module in list(model.named_modules()):
        if is_depthwise(module) and (max(module.stride) > 1 or max(module.kernel_size) > 3):
            model.set_submodule(name, Depthwise(module))


def is_depthwise(module: nn.Module) -> bool:
    """Whether it is a plain convolution with a filter for each channel, padded with zeros."""
    if type(module) not in (nn.Conv2d, Conv2dSame) or isinstance(module.padding, str):
        return False
    one_each = module.groups == module.in_channels == module.out_channels > 1
    return one_each and module.dilation == (1, 1) and module.padding_mode == "zeros"
