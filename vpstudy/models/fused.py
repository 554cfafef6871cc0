"""A frozen backbone made faster: every BatchNorm goes into the convolution before it."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vpstudy.models.backbones import Backbone


def fused(backbone: Backbone, size: int = 32) -> Backbone:
    """A frozen copy with the same outputs (but for rounding) that needs a fifth less time a step.

    In eval mode a BatchNorm is one factor and one shift a channel, which the convolution can apply itself. Which
    convolution feeds which BatchNorm is seen in one forward pass, so no list of architectures is needed. What
    quantizes a layer's input stays in front of it.

    Parameters
    ----------
    size
        Side of the picture of that pass, px.
    """
    copied = copy.deepcopy(backbone).frozen()
    names = {module: name for name, module in copied.named_modules()}
    made_by: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}  # holds the output too, so that no id is used again
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
        # timm's BatchNormAct2d goes on with dropout and activation
        rest = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
        copied.set_submodule(names[norm], rest)
    copied.model.to(memory_format=torch.channels_last)
    return copied.frozen()
