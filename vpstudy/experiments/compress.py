"""The compress cell: make one compression of one backbone, and measure it upstream."""

from dataclasses import dataclass

from vpstudy import results
from vpstudy.cells import Cell
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.making import make, making
from vpstudy.experiments.base import head, row
from vpstudy.source import upstream_probabilities


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

    def compress(self, compression: str | None = None) -> Compressed:
        """This compression, or another one to compare it with."""
        return make(compression or self.compression, self.making)

    def measure(self, compressed: Compressed) -> dict:
        """Accuracy and calibration on fresh glyphs, the same ones for every compression."""
        backbone = compressed.backbone.to(self.runtime.device)
        return row("upstream", *upstream_probabilities(backbone, self.source, self.runtime))

    def save(self, compressed: Compressed, upstream: dict) -> None:
        """Write the model, then the record."""
        compressed.save(self.making.folder / f"{self.compression}.safetensors")
        record = head(self.cell, self.runtime, source=self.source, compressing=self.making.settings)
        results.write(results.path(self.cell), record | {"facts": compressed.facts(), "rows": [upstream]})
