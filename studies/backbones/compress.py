"""The compress cell: make one compression of one backbone, and measure it upstream."""

from dataclasses import dataclass
from importlib import metadata

import torch

from studies import results
from studies.cells import Cell
from studies.rows import head, row
from vpstudy.calibration.metrics import summary
from vpstudy.compression import integer
from vpstudy.compression.channels import macs
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.make import make, making
from vpstudy.compression.source_free import OutsideMaking
from vpstudy.data import glyphs
from vpstudy.training.pretraining import upstream_probabilities

BATCH = 256  # pictures of a forward pass
TIMED = 128  # pictures of a forward pass that is timed


@dataclass
class CompressCell:
    """One compression of one source backbone."""

    scale: str
    backbone: str
    compression: str

    def __post_init__(self):
        axes = {"backbone": self.backbone, "compression": self.compression}
        self.cell = Cell.of("compress", "backbones", self.scale, **axes)
        self.making = making(self.scale, self.backbone)
        self.source, self.runtime = self.making.source, self.making.runtime
        self.outside = isinstance(self.making, OutsideMaking)
        self.size = self.making.recovery.size if self.outside else self.source.size  # side of its pictures, px

    def compress(self, compression: str | None = None) -> Compressed:
        """This compression, or another one to compare it with."""
        return make(compression or self.compression, self.making)

    def facts(self, compressed: Compressed) -> dict:
        """Sparsity, size, and the multiplications (with additions, as pairs) of one picture."""
        return compressed.facts() | {"macs": macs(compressed.backbone.frozen(), self.size)}

    def measure(self, compressed: Compressed) -> dict:
        """Accuracy and calibration on fresh glyphs, the same ones for every compression.

        The source pictures of a backbone from elsewhere are not here. Its accuracy is how often it agrees with dense,
        on the pictures for recovery that recovery does not see.
        """
        if self.outside:
            return row("upstream", *self.making.answers(compressed.backbone))
        backbone = compressed.backbone.to(self.runtime.device)
        return row("upstream", *upstream_probabilities(backbone, self.source, self.runtime))

    def measure_integers(self, compressed: Compressed) -> dict | None:
        """The dense checkpoint in real integers, beside itself, their emulation and `compressed`, which simulates them.

        None unless `compressed` rounds to 8 bits, untrained, and the backbone is one of the study's own with linear
        layers to convert. All run in fp32, on the pictures of `measure`. Latencies ("latency_ms", medians) are all that
        differs from run to run.
        """
        simulated, what = compressed.backbone.frozen(), compressed.compression
        eight_bits = (what.bits, what.activation_bits) == (8, 8) and what.ranges != "lsq"
        layers = integer.linear_layers(simulated)
        if not eight_bits or not layers or self.outside:
            return None
        dense = self.making.dense().frozen()
        integers = integer.to_int8(dense)
        arms = {"dense": dense, "integers": integers, "emulated": integer.emulate(dense), "simulated": simulated}
        pictures, labels = glyphs.dataset(self.source.held_out, seed=self.source.seed, size=self.source.size)
        pictures = pictures.to(self.runtime.device).float() / 255
        with torch.inference_mode():
            logits = {
                arm: torch.cat([backbone(chunk) for chunk in pictures.split(BATCH)]) for arm, backbone in arms.items()
            }
        metrics = {arm: summary(each.softmax(1).cpu().numpy(), labels.numpy()) for arm, each in logits.items()}
        stored = {"dense": dense, "integers": integers}  # the others hold floats, and stand for integers
        return {
            "torchao": metadata.version("torchao"),
            "layers": len(layers),
            "accuracy": {arm: each["accuracy"] for arm, each in metrics.items()},
            "ece_debiased": {arm: each["ece_debiased"] for arm, each in metrics.items()},
            "agreement": {
                arm: integer.agreement(logits["integers"], each) for arm, each in logits.items() if arm != "integers"
            },
            "bytes": {arm: integer.stored_bytes(backbone) for arm, backbone in stored.items()},
            "batch": len(pictures[:TIMED]),
            "latency_ms": {
                arm: round(integer.latency(backbone, pictures[:TIMED]), 1) for arm, backbone in stored.items()
            },
        }

    def save(self, compressed: Compressed, upstream: dict, integers: dict | None) -> None:
        """Write the model, then the record; `integers` is what `measure_integers` gave."""
        compressed.save(self.making.folder / f"{self.compression}.safetensors")
        recovery = {"recovery": self.making.recovery} if self.outside else {}
        record = head(self.cell, self.runtime, source=self.source, compressing=self.making.settings, **recovery)
        facts = self.facts(compressed) | ({"integer": integers} if integers else {})
        results.write(results.path(self.cell), record | {"facts": facts, "rows": [upstream]})
