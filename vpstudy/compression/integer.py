"""Linear layers of a backbone in real int8 arithmetic (torchao); other modules only simulate rounding.

torchao converts only linear layers, so this is for transformers: in a convolutional network it would convert nothing
but the classifier. Weights are symmetric per output channel; layer inputs are rounded dynamically, per row. On a CPU
without VNNI instructions torch's int8 products overflow; this shows as a difference from `emulate`.
"""

import copy
import time
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpstudy.models.backbones import Backbone


def linear_layers(backbone: Backbone) -> dict[str, nn.Linear]:
    """Layers that can run in integers: all linear ones except the classifier, by name."""
    modules = backbone.model.named_modules()
    return {name: m for name, m in modules if isinstance(m, nn.Linear) and m is not backbone.classifier}


def to_int8(backbone: Backbone) -> Backbone:
    """Frozen copy with int8 linear layers, except the classifier. Raises ValueError if there are none."""
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
    """Frozen copy that rounds as `to_int8` in plain torch: what int8 should give, to the bit. Raises as `to_int8`."""
    emulated = _copy(backbone)
    for name, layer in linear_layers(emulated).items():
        emulated.model.set_submodule(name, _Emulated(layer))
    return emulated


class _Emulated(nn.Module):
    """Linear layer on integers held as floats: sums are exact up to 2^24, which takes over 1,000 inputs."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight, scales = _round(layer.weight.detach())
        self.scales, self.bias = scales.flatten(), layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        integers, scales = _round(inputs)
        outputs = F.linear(integers, self.weight) * scales * self.scales
        return outputs if self.bias is None else outputs + self.bias


def _round(values: Tensor) -> tuple[Tensor, Tensor]:
    """Integers -128 … 127, as floats (..., K), and scales max|row| / 127.5 (..., 1); 127.5 is clipped to 127."""
    scales = (values.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    return (values * (1 / scales)).round().clamp(-128, 127), scales


def _copy(backbone: Backbone) -> Backbone:
    if not linear_layers(backbone):
        raise ValueError(f"{backbone.name} has no linear layer but its classifier: nothing could run in integers")
    return copy.deepcopy(backbone).frozen()


def stored_bytes(backbone: Backbone) -> int:
    """Bytes of all parameters as held: integers and scales where weights are integers."""
    return sum(_bytes(parameter) for parameter in backbone.model.parameters())


def agreement(one: Tensor, other: Tensor) -> dict[str, float]:
    """Compare two sets of logits (N, S): share of equal predictions, largest and mean difference."""
    gap = (one - other).abs()
    same = (one.argmax(1) == other.argmax(1)).float().mean().item()
    return {"same_predictions": same, "largest_difference": gap.max().item(), "mean_difference": gap.mean().item()}


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


def _bytes(tensor: Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # a torchao tensor, made of others
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()
