"""Frozen backbones made faster: every BatchNorm is folded into the convolution before it."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vpstudy.models.backbones import Backbone


def fused(backbone: Backbone, size: int = 32) -> Backbone:
    """Frozen copy with the same outputs, up to rounding, that needs a fifth less time per step.

    In eval mode a BatchNorm is one factor and one shift per channel, which the convolution can apply itself. One
    forward pass of a picture of side `size` (px) shows which convolution feeds which BatchNorm, so no list of
    architectures is needed. Quantizers of layer inputs stay in place.
    """
    copied = copy.deepcopy(backbone).frozen()
    names = {module: name for name, module in copied.named_modules()}
    made_by: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}  # keeps outputs alive, so that no id is reused
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note_output(module: nn.Module, _, output: torch.Tensor) -> None:
        made_by[id(output)] = module, output

    def note_pair(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])][0], module))

    hooks = [m.register_forward_hook(note_output) for m in copied.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(note_pair) for m in copied.modules() if isinstance(m, nn.BatchNorm2d)]
    device = next(copied.parameters()).device
    with torch.no_grad():
        copied(torch.rand(1, 3, size, size, device=device))
    for hook in hooks:
        hook.remove()
    for convolution, norm in pairs:
        copied.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        # timm's BatchNormAct2d also applies dropout and activation
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        copied.set_submodule(names[norm], rest)
    copied.model.to(memory_format=torch.channels_last)
    return copied.frozen()
