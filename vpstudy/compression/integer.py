"""A real integer path: the linear layers of a backbone run in int8 (torchao), where the study else simulates rounding.

torchao converts linear layers alone, so this is for transformers; of a convolutional network it would convert nothing
but the classifier. Weights are symmetric by output channel and what enters a layer by row, rounded as it comes. On a
CPU without VNNI instructions torch's products of int8 overflow; that shows as a difference from `emulate`.
"""

import copy
import time
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpstudy.models.backbones import Backbone


def linear_layers(backbone: Backbone) -> dict[str, nn.Linear]:
    """The layers that can run in integers: every linear one but the classifier, by its name in the model."""
    modules = backbone.model.named_modules()
    return {name: m for name, m in modules if isinstance(m, nn.Linear) and m is not backbone.classifier}


def to_int8(backbone: Backbone) -> Backbone:
    """A frozen copy whose linear layers, but the classifier, hold int8 weights and multiply integers.

    Raises
    ------
    ValueError
        If the backbone has no linear layer but its classifier.
    """
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # takes seconds

    converted = _copy(backbone)
    layers = linear_layers(converted)
    quantize_(
        converted.model,
        Int8DynamicActivationInt8WeightConfig(set_inductor_config=False),  # nothing is compiled here
        filter_fn=lambda _, name: name in layers,
    )
    return converted


def emulate(backbone: Backbone) -> Backbone:
    """A frozen copy that rounds as `to_int8` does, in plain torch: what its integers should come to, to the bit.

    Raises ValueError as `to_int8`.
    """
    emulated = _copy(backbone)
    for name, layer in linear_layers(emulated).items():
        emulated.model.set_submodule(name, _Emulated(layer))
    return emulated


class _Emulated(nn.Module):
    """A linear layer on integers held as floats: sums of their products are exact up to 2^24, 1,000 inputs at least."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight, scales = _round(layer.weight.detach())
        self.scales, self.bias = scales.flatten(), layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        integers, scales = _round(inputs)
        outputs = F.linear(integers, self.weight) * scales * self.scales
        return outputs if self.bias is None else outputs + self.bias


def _round(values: Tensor) -> tuple[Tensor, Tensor]:
    """Integers from -128 to 127, as floats (..., K), and the scale of each row (..., 1).

    The scale is max|row| / 127.5, half a step less than `quantization` takes: the largest value is clipped to 127.
    """
    scales = (values.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    return (values * (1 / scales)).round().clamp(-128, 127), scales


def _copy(backbone: Backbone) -> Backbone:
    if not linear_layers(backbone):
        raise ValueError(f"{backbone.name} has no linear layer but its classifier: nothing could run in integers")
    return copy.deepcopy(backbone).frozen()


def stored_bytes(backbone: Backbone) -> int:
    """Bytes of all parameters as they are held: integers and scales where weights are integers."""
    return sum(_bytes(parameter) for parameter in backbone.model.parameters())


def agreement(one: Tensor, other: Tensor) -> dict[str, float]:
    """How two sets of logits (N, S) compare: share of equal predictions, largest and mean difference."""
    gap = (one - other).abs()
    same = (one.argmax(1) == other.argmax(1)).float().mean().item()
    return {"same_predictions": same, "largest_difference": gap.max().item(), "mean_difference": gap.mean().item()}


def latency(backbone: Backbone, pictures: Tensor, repeats: int = 20) -> float:
    """The median of `repeats` forward passes of `pictures` (N, 3, H, W), in milliseconds, after two to warm up."""
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            backbone(pictures)
            if pictures.is_cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[2:])


def _bytes(tensor: Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # a torchao tensor, made of others
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()
