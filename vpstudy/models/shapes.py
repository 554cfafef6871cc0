"""Resize freshly made networks to checkpoints from which channels were removed."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def fit_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a freshly made `model` the shapes of a state dict, so that it can be loaded strictly.

    Convolutions keep their groups, but depthwise ones stay depthwise; attention keeps its number of heads.
    """
    changed = False
    for name, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                wanted = state.get(f"{name}.{key}" if name else key)
                if tensor is None or wanted is None or wanted.shape == tensor.shape:
                    continue
                new = torch.empty(wanted.shape, dtype=tensor.dtype, device=tensor.device)
                tensors[key], changed = nn.Parameter(new) if isinstance(tensor, nn.Parameter) else new, True
    if changed:
        follow_shapes(model)


def follow_shapes(model: nn.Module) -> None:
    """Update the sizes stored in layers from the shapes of their weights."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels > 1
            module.out_channels, module.groups = len(module.weight), len(module.weight) if depthwise else module.groups
            module.in_channels = module.weight.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.num_features = len(module.weight)
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = tuple(module.weight.shape)
    for module in model.modules():
        if hasattr(module, "qkv") and hasattr(module, "head_dim"):  # timm's attention
            module.head_dim = len(module.qkv.weight) // (3 * module.num_heads)
            if hasattr(module, "attn_dim"):
                module.attn_dim = module.num_heads * module.head_dim
