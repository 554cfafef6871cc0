"""The weights cell: a backbone from elsewhere, fetched, checked and measured."""

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError, safe_open
from torchvision.models import ResNet18_Weights

from studies import results
from studies.backbones import weights_checks
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head
from vpstudy import atomic, paths
from vpstudy.compression import external
from vpstudy.compression.channels import macs
from vpstudy.compression.masks import Mask
from vpstudy.models import backbones, published
from vpstudy.models import libraries as outside
from vpstudy.models import open_clips as outside_clip
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import HUB, OutsideWeights
from vpstudy.runtime import configure
from vpstudy.settings import ParameterError

NO_ROUNDS = "Iterative pruning has no rounds here: weights from elsewhere have no early step to rewind to.\n"
HUB_FILE = ("model.safetensors", "open_clip_model.safetensors")  # of timm, and of open_clip


@dataclass
class WeightsCell:
    """One backbone of the section `weights`.

    Raises ParameterError, before anything is fetched, where a study asks of it what it cannot do.
    """

    parameters: Parameters
    backbone: str

    def __post_init__(self):
        p = self.parameters
        self.cell = Cell.of("weights", "backbones", p.scale, backbone=self.backbone)
        self.entry = p.weights.root[self.backbone]
        self.runtime = configure(p.execution)
        self.architecture = outside.architecture(self.backbone, self.entry)
        self.size = outside.input_size(self.entry)
        if problems := list(weights_checks.misfits(p, self.architecture, self.size)):
            raise ParameterError("\n".join(problems))

    def fetch(self) -> Path:
        """The checkpoint on this machine, its checksum as `params.yaml` says."""
        return fetch(self.entry)

    def load(self, path: Path) -> tuple[Backbone, Mask]:
        """The backbone with every weight from `path`, and which of them are not zero."""
        return load(self.architecture, class_names(self.entry), path)

    def facts(self, path: Path, backbone: Backbone, mask: Mask) -> dict:
        """Where the weights are from, how many there are and how many are zero, and what the network takes."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        parameters = list(backbone.model.parameters())
        with outside_clip.unfused() if self.entry.is_clip else contextlib.nullcontext():
            multiplications = macs(backbone.frozen(), self.size)
        return {
            "model": self.entry.model,
            "location": self.entry.location or f"{HUB}{outside.hub_name(self.entry)}",
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
        """Write the checkpoint, the folder that later stages look for rounds in, then the record."""
        folder = paths.MODELS / self.parameters.scale / self.backbone
        backbones.save(backbone, folder / "source.safetensors")
        atomic.write_text(folder / "imp" / "README.txt", NO_ROUNDS)
        record = head(self.cell, self.runtime, weights=self.entry)
        results.write(results.path(self.cell), record | {"facts": facts, "rows": []})


def fetch(entry: OutsideWeights) -> Path:
    """The checkpoint of `entry` on this machine, its checksum as it says; paths are from the project's root.

    Raises
    ------
    ValueError
        If the checksum is another one, or it is no safetensors file.
    FileNotFoundError
        If there is no such file, variable or download; the message says what to do by hand.
    """
    location = entry.location or f"{HUB}{outside.hub_name(entry)}"
    if entry.published:
        return published.fetch(entry, paths.RAW)
    if entry.on_hub:
        organisation, repository, *file = location.removeprefix(HUB).split("/", 2)
        name, file = f"{organisation}/{repository}", (file or [HUB_FILE[entry.is_clip]])[0]
        try:
            location = hf_hub_download(name, file, revision=entry.revision, cache_dir=paths.RAW / "hub")
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{location}: {file} of {name} at {entry.revision} could not be downloaded ({error}); "
                "get it by hand and give its path as the location, with its sha256"
            ) from None
    location = os.path.expandvars(location)
    if unset := re.search(r"\$\{?\w+\}?", location):
        raise FileNotFoundError(
            f"{entry.location}: there is no environment variable {unset[0]}; set it, so that this is the path of a file"
        )
    if not location.startswith(("https:", "http:")):
        location = str(paths.ROOT / Path(location).expanduser())
    return external.fetch(location, entry.sha256, paths.RAW)


def class_names(entry: OutsideWeights) -> list[str]:
    """Of the source classes, in the order of the logits. Raises ValueError where two are the same."""
    if entry.is_clip:
        return []
    if entry.classes is None:
        return list(ResNet18_Weights.DEFAULT.meta["categories"])  # ImageNet-1k, sorted by WordNet's number
    path = paths.ROOT / entry.classes
    if not path.exists():
        raise ValueError(f"classes: {entry.classes}: there is no such file; give a text file with a name a line")
    names = path.read_text(encoding="utf-8").splitlines()
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"classes: {entry.classes}: each name may stand only once; repeated: {', '.join(repeated)}")
    return names


def load(architecture: Architecture, names: list[str], path: Path) -> tuple[Backbone, Mask]:
    """The backbone with every weight from `path`, and which of them are not zero.

    Raises ValueError if the file does not fit the model, or its head does not fit the names of the classes.
    """
    backbone = Backbone(architecture, names)
    if backbone.classifier is None:
        return backbone, external.load_into(backbone, path)
    weight = next(key for key, module in backbone.model.named_modules() if module is backbone.classifier) + ".weight"
    with contextlib.suppress(SafetensorError), safe_open(path, "pt") as file:  # told by load_into
        if weight in set(file.keys()) and (outputs := file.get_slice(weight).get_shape()[0]) != len(names):
            raise ValueError(
                f"{path.name}: its head ({weight}) has {outputs} outputs, and there are {len(names)} names of classes; "
                "give `classes`, a text file with a name a line"
            )
    return backbone, external.load_into(backbone, path)
