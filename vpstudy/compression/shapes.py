"""A network from which channels were removed has other shapes than its architecture: a fresh one is made to fit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def fit_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give the layers of a freshly made `model` the shapes of a state dict, so that it can be loaded strictly.

    Convolutions, linear layers and BatchNorm are changed in place; where every shape is the architecture's own,
    nothing is. Convolutions stay of one group unless they were depthwise.
    """
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or weight.shape == getattr(module, "weight", weight).shape:
            continue
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels > 1
            module.out_channels, module.groups = len(weight), len(weight) if depthwise else module.groups
            module.in_channels = weight.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = weight.shape
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.num_features = len(weight)
        for kind in (module._parameters, module._buffers):
            for key, tensor in kind.items():
                wanted = state.get(f"{name}.{key}")
                if tensor is not None and wanted is not None and wanted.shape != tensor.shape:
                    new = torch.empty(wanted.shape, dtype=tensor.dtype, device=tensor.device)
                    kind[key] = nn.Parameter(new) if isinstance(tensor, nn.Parameter) else new
