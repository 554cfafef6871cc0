"""The compress cell: make one compression of one backbone and measure it upstream."""

from studies.backbones.access import source_access
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.registry import parse
from vpstudy.compression.source_access import NoSourceAccess
from vpstudy.models.cost import macs
from vpstudy.training.pretraining import upstream_probabilities

# depends on vpstudy/compression/families, called by name


class CompressCell:
    """One compression of one source checkpoint."""

    def __init__(self, parameters: Parameters, backbone: str, compression: str, checkpoint: int = 0):
        self.cell = Cell.of("compress", "backbones", parameters.scale, backbone=backbone, compression=compression)
        self.compression, self.checkpoint = compression, checkpoint
        self.access = source_access(parameters, backbone, compression, checkpoint)
        self.source, self.runtime = self.access.source, self.access.runtime
        self.without_source = isinstance(self.access, NoSourceAccess)
        self.size = self.access.distillation.size if self.without_source else self.source.size  # px

    def compress(self, compression: str | None = None) -> Compressed:
        """This compression, or another one for comparison."""
        return parse(compression or self.compression).make(self.access)

    def facts(self, compressed: Compressed) -> dict:
        """Sparsity, size, and multiply-accumulates (MACs) for one picture."""
        return compressed.facts() | {"macs": macs(compressed.backbone.frozen(), self.size)}

    def measure(self, compressed: Compressed) -> dict:
        """Metrics on the same fresh glyphs for all; for `weights`, agreement with dense on held-out pictures.

        Where these are of the backbone's own classes, `labelled_accuracy` is there, too. Agreement has no calibration:
        dense's own would be its distance from answers that are its own.
        """
        if self.without_source:
            probabilities, of_dense = self.access.answers(compressed.backbone)
            measured = row("upstream", probabilities, of_dense)
            metrics = {"accuracy": measured["metrics"]["accuracy"]}
            labelled = self.access.accuracy(compressed.backbone, probabilities)
            metrics |= {} if labelled is None else {"labelled_accuracy": labelled}
            return measured | {"metrics": metrics, "reliability": None}
        return row("upstream", *upstream_probabilities(compressed.backbone, self.source, self.runtime))

    def files(self, compressed: Compressed) -> None:
        """Write the model."""
        compressed.save(self.access.folder / self.compression / f"{self.checkpoint}.safetensors")

    def result(self, compressed: Compressed, upstream: dict) -> dict:
        recovery = {"recovery": self.access.distillation} if self.without_source else {}
        content = head(self.cell, self.runtime, source=self.source, compressing=self.access.settings, **recovery)
        return content | {"facts": self.facts(compressed), "rows": [upstream]}
