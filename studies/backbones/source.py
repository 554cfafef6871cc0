"""The source cell: pretrain a backbone, keep an early step to rewind to, measure it upstream."""

import torch

from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import own
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import configure
from vpstudy.training.pretraining import train_on_source, upstream_probabilities


class SourceCell:
    """Pretraining of one source checkpoint of a backbone on glyphs."""

    def __init__(self, parameters: Parameters, backbone: str, checkpoint: int = 0):
        self.cell = Cell.of("source", "backbones", parameters.scale, backbone=backbone)
        self.backbone, self.checkpoint, self.settings = backbone, checkpoint, parameters.source
        self.rewind_step = parameters.imp.rewind_step
        self.runtime = configure(parameters.execution, chain=True)
        self.early: dict[str, torch.Tensor] = {}

    def pretrain(self) -> tuple[Backbone, list[float]]:
        """The trained backbone and its loss at each step; keeps the weights at the rewind step in `early`."""
        model = Backbone(own(self.backbone), glyphs.class_names, self.settings.seed, self.checkpoint)
        model.to(self.runtime.device)

        def keep_early(step: int, inner: torch.nn.Module) -> None:
            if step == self.rewind_step:
                self.early = {key: value.detach().clone() for key, value in inner.state_dict().items()}

        losses = train_on_source(
            model,
            self.settings,
            self.runtime,
            stream="pretraining",
            label=f"pretraining {model.name}",
            after_step=keep_early,
        )
        return model, losses

    def measure(self, model: Backbone) -> dict:
        """Accuracy and calibration on fresh glyphs in the training fonts."""
        return row("upstream", *upstream_probabilities(model, self.settings, self.runtime))

    def result(self, model: Backbone, losses: list[float], upstream: dict) -> dict:
        facts = {
            "classes": len(model.class_names),
            "rewind_step": self.rewind_step,
            "loss": {"first": losses[0], "last": sum(losses[-20:]) / len(losses[-20:])},
        }
        return head(self.cell, self.runtime, source=self.settings) | {"facts": facts, "rows": [upstream]}

    def files(self, model: Backbone) -> None:
        """Write the trained and the early weights."""
        folder, name = paths.MODELS / self.cell.scale / self.backbone, f"{self.checkpoint}.safetensors"
        backbones.save(model, folder / "source" / name)
        trained = {key: value.clone() for key, value in model.model.state_dict().items()}
        model.model.load_state_dict(self.early)
        backbones.save(model, folder / "early" / name)
        model.model.load_state_dict(trained)
