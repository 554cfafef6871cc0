"""Real 8-bit integers beside their emulation and the simulation that the study uses."""

from importlib import metadata

import pandas as pd
import torch
from torch import Tensor

from vpstudy.calibration.metrics import summary
from vpstudy.compression import integer
from vpstudy.compression.compressed import Compressed
from vpstudy.models.backbones import Backbone

BATCH = 256  # pictures in a forward pass
TIMED = 128  # pictures in a timed forward pass


def applies(compressed: Compressed) -> bool:
    """Whether it rounds to 8 bits without training, and the backbone has linear layers to convert."""
    what = compressed.compression
    eight_bits = (what.bits, what.activation_bits) == (8, 8) and not what.trains_on_source
    return eight_bits and bool(integer.linear_layers(compressed.backbone))


def measure(dense: Backbone, simulated: Backbone, pictures: Tensor, labels: Tensor) -> tuple[dict, dict]:
    """Facts of four fp32 networks on pictures (N, 3, H, W) in [0, 1], and latencies of two, in ms."""
    integers = integer.to_int8(dense)
    networks = {"dense": dense, "integers": integers, "emulated": integer.emulate(dense), "simulated": simulated}
    with torch.inference_mode():
        logits = {
            name: torch.cat([backbone(chunk) for chunk in pictures.split(BATCH)]) for name, backbone in networks.items()
        }
    metrics = {name: summary(each.softmax(1).cpu().numpy(), labels.numpy()) for name, each in logits.items()}
    stored = {"dense": dense, "integers": integers}  # the others hold floats in place of integers
    facts = {
        "torchao": metadata.version("torchao"),
        "layers": len(integer.linear_layers(dense)),
        "accuracy": {name: each["accuracy"] for name, each in metrics.items()},
        "ece_debiased": {name: each["ece_debiased"] for name, each in metrics.items()},
        "agreement": {
            name: integer.agreement(logits["integers"], each) for name, each in logits.items() if name != "integers"
        },
        "bytes": {name: integer.stored_bytes(backbone) for name, backbone in stored.items()},
    }
    seen = pictures[:TIMED]
    milliseconds = {name: round(integer.latency(backbone, seen), 1) for name, backbone in stored.items()}
    return facts, {"batch": len(seen), "latency_ms": milliseconds}


def table(facts: dict) -> pd.DataFrame:
    """A row for each network: accuracy, calibration, bytes if stored, agreement with the integers."""
    columns = pd.DataFrame({key: facts[key] for key in ("accuracy", "ece_debiased", "bytes")})
    return columns.join(pd.DataFrame(facts["agreement"]).T).round(4)
