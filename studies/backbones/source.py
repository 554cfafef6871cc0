"""The source cell: pretrain a backbone, keep an early step to rewind to, measure it upstream."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from studies import results
from studies.cells import Cell
from studies.rows import head, row
from vpstudy import paths
from vpstudy.compression.settings import Imp, Source
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import own, parse
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.pretraining import train_on_source, upstream_probabilities


def folder(scale: str, backbone: str) -> Path:
    """Where the checkpoints of a backbone lie."""
    return paths.MODELS / scale / backbone


@dataclass
class SourceCell:
    """Pretraining of one backbone on glyphs."""

    scale: str
    backbone: str
    early: dict[str, torch.Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self):
        self.cell = Cell.of("source", "backbones", self.scale, backbone=self.backbone)
        self.settings = section("source", Source, self.scale)
        self.rewind_step = section("imp", Imp, self.scale).rewind_step
        self.runtime = configure(section("execution", Execution, self.scale), chain=True)

    def pretrain(self) -> tuple[Backbone, list[float]]:
        """The trained backbone and its loss at each step; the weights at the rewind step are kept aside."""
        replicate = parse(self.backbone)[1]
        model = Backbone(own(self.backbone), glyphs.class_names, self.settings.seed, replicate).to(self.runtime.device)

        def keep_early(step: int, inner: torch.nn.Module) -> None:
            if step == self.rewind_step:
                self.early = {key: value.detach().clone() for key, value in inner.state_dict().items()}

        losses = train_on_source(
            model,
            self.settings,
            self.runtime,
            stream="pretraining",
            label=f"pretraining {self.backbone}",
            after_step=keep_early,
        )
        return model, losses

    def measure(self, model: Backbone) -> dict:
        """Accuracy and calibration on fresh glyphs in the training fonts."""
        return row("upstream", *upstream_probabilities(model, self.settings, self.runtime))

    def save(self, model: Backbone, losses: list[float], upstream: dict) -> None:
        """Write both checkpoints, then the record."""
        place = folder(self.scale, self.backbone)
        backbones.save(model, place / "source.safetensors")
        trained = model.model.state_dict()
        model.model.load_state_dict(self.early)
        backbones.save(model, place / "early.safetensors")
        model.model.load_state_dict(trained)
        record = head(self.cell, self.runtime, source=self.settings)
        record["facts"] = {
            "classes": len(model.class_names),
            "rewind_step": self.rewind_step,
            "loss": {"first": losses[0], "last": sum(losses[-20:]) / len(losses[-20:])},
        }
        results.write(results.path(self.cell), record | {"rows": [upstream]})
