"""What a forward pass costs: multiply-accumulates and time."""

import time
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vpstudy.models.backbones import Backbone


def macs(backbone: Backbone, size: int) -> int:
    """Multiply-accumulate operations of one picture (3, size, size) through the network."""
    device = next(backbone.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # counts 2 per multiply-accumulate
        backbone.model(torch.rand(1, 3, size, size, device=device))
    return counter.get_total_flops() // 2


def latency(backbone: Backbone, pictures: Tensor, repeats: int = 20) -> float:
    """Median of `repeats` forward passes of `pictures` (N, 3, H, W), ms, after two warm-up passes."""
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            backbone(pictures)
            if pictures.is_cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[2:])
