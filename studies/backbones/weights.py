"""The weights cell: a backbone with weights from outside, fetched, checked and measured."""

import contextlib
import hashlib
from pathlib import Path

import torch

from studies import results
from studies.backbones.weights_checks import class_names, misfits
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head
from vpstudy import atomic, paths
from vpstudy.compression.masks import Mask
from vpstudy.models import backbones, checkpoints, files, libraries, open_clips
from vpstudy.models.backbones import Backbone
from vpstudy.models.cost import macs
from vpstudy.models.weights import HUB
from vpstudy.runtime import configure
from vpstudy.settings import ParameterError

NO_ROUNDS = "Iterative pruning has no rounds here: these weights have no early step to rewind to.\n"


class WeightsCell:
    """One backbone of `weights`. Raises ParameterError, before any fetch, if a study asks what it cannot do."""

    def __init__(self, parameters: Parameters, backbone: str):
        self.cell = Cell.of("weights", "backbones", parameters.scale, backbone=backbone)
        self.entry, self.runtime = parameters.weights[backbone], configure(parameters.execution)
        self.architecture = libraries.architecture(backbone, self.entry)
        self.size = libraries.input_size(self.entry)
        if problems := list(misfits(parameters, self.architecture, self.size)):
            raise ParameterError("\n".join(problems))

    def fetch(self) -> Path:
        """The checkpoint on this machine, checked against the checksum in `params.yaml`."""
        return files.fetch_weights(self.entry, paths.RAW, paths.ROOT)

    def load(self, path: Path) -> tuple[Backbone, Mask]:
        """Backbone and mask of nonzero weights. Raises ValueError if the file does not fit model or class names.

        So it does if a configuration beside the file speaks of other pictures than those assumed.
        """
        names = class_names(self.entry)
        quick = bool(self.architecture.arguments.get("quick_gelu"))
        assumed = {"mean": self.architecture.mean, "std": self.architecture.std, "arguments.quick_gelu": quick}
        given = self.entry.model_fields_set | {f"arguments.{key}" for key in self.entry.arguments}
        for key, value in files.stated(path).items():
            if assumed[key] != value and key not in given:
                raise ValueError(
                    f"{path.name}: the configuration beside it has {key} {value}, and {assumed[key]} is assumed; "
                    f"state {key} in weights.{self.architecture.name}"
                )
        backbone = Backbone(self.architecture, names)
        try:
            checkpoints.load(backbone.model, path, backbone.name)
        except ValueError as error:
            if self.entry.is_clip:
                raise
            hint = "for others than ImageNet's give `classes`, a text file with a name a line"
            raise ValueError(f"{error}; there are {len(names)} names of classes: {hint}") from None
        return backbone, Mask.nonzero(backbone.prunable)

    def facts(self, path: Path, backbone: Backbone, mask: Mask) -> dict:
        """Origin of the weights, number and share of zeros, and inputs that the network takes."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        parameters = list(backbone.model.parameters())
        with open_clips.unfused() if self.entry.is_clip else contextlib.nullcontext():
            multiplications = macs(backbone.frozen(), self.size)
        return {
            "model": self.entry.model,
            "location": self.entry.location or f"{HUB}{libraries.hub_name(self.entry)}",
            "sha256": sha256,
            "revision": self.entry.revision,
            "classes": len(backbone.class_names),
            "size": self.size,
            "mean": list(self.architecture.mean),
            "std": list(self.architecture.std),
            "any_size": self.architecture.any_size,
            "batchnorm": self.architecture.batchnorm,
            "parameters": sum(p.numel() for p in parameters),
            "prunable": mask.size,
            "zero_weights": mask.sparsity,
            "zero_parameters": sum(int((p == 0).sum()) for p in parameters) / sum(p.numel() for p in parameters),
            "macs": multiplications,
            "layers": {name: 1 - density for name, density in mask.layer_densities.items()},
        }

    def weights(self, backbone: Backbone) -> torch.Tensor:
        """Every prunable weight, as one vector."""
        return torch.cat([weight.detach().flatten() for weight in backbone.prunable.values()])

    def save(self, backbone: Backbone, facts: dict) -> None:
        """Write the checkpoint, the `imp` folder that later stages expect, then the result."""
        folder = paths.MODELS / self.cell.scale / self.architecture.name
        backbones.save(backbone, folder / "source/0.safetensors")
        atomic.write_text(folder / "imp" / "README.txt", NO_ROUNDS)
        content = head(self.cell, self.runtime, weights=self.entry)
        results.write(results.path(self.cell), [content | {"facts": facts, "rows": []}])
