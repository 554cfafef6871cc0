"""The compress cell: make one compression of one backbone and measure it upstream."""

from studies import results
from studies.backbones import integers
from studies.backbones.access import source_access
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy import atomic, paths
from vpstudy.compression.channels import macs
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.registry import parse
from vpstudy.compression.source_access import NoSourceAccess
from vpstudy.data import glyphs
from vpstudy.training.pretraining import upstream_probabilities


class CompressCell:
    """One compression of one source backbone."""

    def __init__(self, parameters: Parameters, backbone: str, compression: str):
        self.cell = Cell.of("compress", "backbones", parameters.scale, backbone=backbone, compression=compression)
        self.compression, self.access = compression, source_access(parameters, backbone, compression)
        self.source, self.runtime = self.access.source, self.access.runtime
        self.without_source = isinstance(self.access, NoSourceAccess)
        self.size = self.access.distillation.size if self.without_source else self.source.size  # px
        self.latency: dict | None = None  # not in the result: differs from run to run

    def compress(self, compression: str | None = None) -> Compressed:
        """This compression, or another one for comparison."""
        return parse(compression or self.compression).make(self.access)

    def facts(self, compressed: Compressed) -> dict:
        """Sparsity, size, and multiply-accumulates (MACs) for one picture."""
        return compressed.facts() | {"macs": macs(compressed.backbone.frozen(), self.size)}

    def measure(self, compressed: Compressed) -> dict:
        """Metrics on the same fresh glyphs for all; for `weights`, agreement with dense on held-out pictures."""
        if self.without_source:
            return row("upstream", *self.access.answers(compressed.backbone))
        return row("upstream", *upstream_probabilities(compressed.backbone, self.source, self.runtime))

    def measure_integers(self, compressed: Compressed) -> dict | None:
        """The dense checkpoint in real integers, on the pictures of `measure`; None unless `compressed` is 8 bits."""
        if self.without_source or not integers.applies(compressed):
            return None
        pictures, labels = glyphs.dataset(self.source.held_out, seed=self.source.seed, size=self.source.size)
        pictures = pictures.to(self.runtime.device).float() / 255
        dense, simulated = self.access.dense().frozen(), compressed.backbone.frozen()
        facts, self.latency = integers.measure(dense, simulated, pictures, labels)
        return facts

    def save(self, compressed: Compressed, upstream: dict, integer: dict | None) -> None:
        """Write the model, latencies if any, then the result; `integer` is from `measure_integers`."""
        compressed.save(self.access.folder / f"{self.compression}.safetensors")
        if self.latency:
            atomic.write_json(paths.TIMINGS / self.cell.scale / "latency" / f"{self.cell.file}.json", self.latency)
        recovery = {"recovery": self.access.distillation} if self.without_source else {}
        content = head(self.cell, self.runtime, source=self.source, compressing=self.access.settings, **recovery)
        facts = self.facts(compressed) | ({"integer": integer} if integer else {})
        results.write(results.path(self.cell), content | {"facts": facts, "rows": [upstream]})
