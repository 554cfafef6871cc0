"""What a forward pass costs: multiply-accumulates."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from vpstudy.models.backbones import Backbone


def macs(backbone: Backbone, size: int) -> int:
    """Multiply-accumulate operations of one picture (3, size, size) through the network."""
    device = next(backbone.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # counts 2 per multiply-accumulate
        backbone.model(torch.rand(1, 3, size, size, device=device))
    return counter.get_total_flops() // 2
