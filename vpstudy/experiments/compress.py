"""The compress cell: make one compression of one backbone, and measure it upstream."""

from dataclasses import dataclass

from vpstudy import paths, results
from vpstudy.cells import Cell
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.making import make
from vpstudy.experiments.base import head, row
from vpstudy.parameters.base import Execution, section
from vpstudy.parameters.source import Source
from vpstudy.runtime import configure
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
        self.source = section("source", Source, self.scale)
        self.runtime = configure(section("execution", Execution, self.scale))
        self.folder = paths.MODELS / self.scale / self.backbone

    def compress(self) -> Compressed:
        return make(self.backbone, self.compression, self.folder)

    def measure(self, compressed: Compressed) -> dict:
        """Accuracy and calibration on fresh glyphs, the same ones for every compression."""
        backbone = compressed.backbone.to(self.runtime.device)
        return row("upstream", *upstream_probabilities(backbone, self.source, self.runtime))

    def save(self, compressed: Compressed, upstream: dict) -> None:
        """Write the model, then the record."""
        compressed.save(self.folder / f"{self.compression}.safetensors")
        record = head(self.cell, self.runtime, source=self.source)
        results.write(results.path(self.cell), record | {"facts": compressed.facts(), "rows": [upstream]})
