"""The source cell: pretrain a backbone, keep an early step to rewind to, measure it upstream."""

import torch

from studies import results
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import own, parse
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import configure
from vpstudy.training.pretraining import train_on_source, upstream_probabilities


class SourceCell:
    """Pretraining of one backbone on glyphs."""

    def __init__(self, parameters: Parameters, backbone: str):
        self.cell = Cell.of("source", "backbones", parameters.scale, backbone=backbone)
        self.backbone, self.settings = backbone, parameters.source
        self.rewind_step = parameters.imp.rewind_step
        self.runtime = configure(parameters.execution, chain=True)
        self.early: dict[str, torch.Tensor] = {}

    def pretrain(self) -> tuple[Backbone, list[float]]:
        """The trained backbone and its loss at each step; keeps the weights at the rewind step in `early`."""
        architecture, (_, replicate) = own(self.backbone), parse(self.backbone)
        model = Backbone(architecture, glyphs.class_names, self.settings.seed, replicate).to(self.runtime.device)

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
        """Write both checkpoints, then the result."""
        folder = paths.MODELS / self.cell.scale / self.backbone
        backbones.save(model, folder / "source.safetensors")
        trained = model.model.state_dict()
        model.model.load_state_dict(self.early)
        backbones.save(model, folder / "early.safetensors")
        model.model.load_state_dict(trained)
        content = head(self.cell, self.runtime, source=self.settings)
        content["facts"] = {
            "classes": len(model.class_names),
            "rewind_step": self.rewind_step,
            "loss": {"first": losses[0], "last": sum(losses[-20:]) / len(losses[-20:])},
        }
        results.write(results.path(self.cell), content | {"rows": [upstream]})
