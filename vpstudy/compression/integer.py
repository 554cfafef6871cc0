"""A real integer path: the linear layers of a backbone run in int8 (torchao), where the study else simulates rounding.

torchao converts linear layers alone, so this is for transformers; of a convolutional network it would convert nothing
but the classifier. Weights are symmetric by output channel and what enters a layer by row, rounded as it comes.
"""

import copy
import time
from statistics import median

import torch
from torch import Tensor, nn

from vpstudy.backbones import Backbone


def to_int8(backbone: Backbone) -> Backbone:
    """A frozen copy whose linear layers, but the classifier, hold int8 weights and multiply integers.

    Raises
    ------
    ValueError
        If the backbone has no linear layer but its classifier.
    """
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # takes seconds

    converted = copy.deepcopy(backbone).frozen()
    classifier = converted.classifier
    layers = [m for m in converted.modules() if isinstance(m, nn.Linear) and m is not classifier]
    if not layers:
        raise ValueError(f"{backbone.name} has no linear layer but its classifier: nothing could run in integers")
    quantize_(
        converted.model,
        Int8DynamicActivationInt8WeightConfig(),
        filter_fn=lambda module, _: isinstance(module, nn.Linear) and module is not classifier,
    )
    return converted


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
            seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[2:])


def _bytes(tensor: Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # a torchao tensor, made of others
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()
