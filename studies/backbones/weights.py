"""The weights cell: a backbone from elsewhere, fetched, checked and measured."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError, safe_open
from torchvision.models import ResNet18_Weights

from pipeline.definition import lookup
from studies import results
from studies.cells import Cell
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
from vpstudy.models.weights import HUB, OutsideWeights, Weights
from vpstudy.runtime import configure
from vpstudy.settings import Execution, ParameterError, read, section
from vpstudy.training.mask_search.methods import METHODS

NO_ROUNDS = "Iterative pruning has no rounds here: weights from elsewhere have no early step to rewind to.\n"
HUB_FILE = ("model.safetensors", "open_clip_model.safetensors")  # of timm, and of open_clip
CANVASES = (  # by study, keys of the sizes of the pictures that backbones see
    ("backbones", "hidden_cost.visual_prompting.canvas"),
    ("backbones", "hidden_cost.linear_probe.size"),
    ("backbones", "hidden_cost.fine_tuning.size"),
    ("vpns.backbones", "vpns.canvas"),
    ("clips", "source.size"),
)


@dataclass
class WeightsCell:
    """One backbone of the section `weights`.

    Raises ParameterError, before anything is fetched, where a study asks of it what it cannot do.
    """

    scale: str
    backbone: str

    def __post_init__(self):
        self.cell = Cell.of("weights", "backbones", self.scale, backbone=self.backbone)
        self.entry = section("weights", Weights, self.scale).root[self.backbone]
        self.runtime = configure(section("execution", Execution, self.scale))
        self.architecture, self.size = outside.architecture(self.entry), outside.input_size(self.entry)
        if problems := list(unfit(self.backbone, self.architecture, self.size, read())):
            raise ParameterError("\n".join(problems))

    def fetch(self) -> Path:
        """The checkpoint on this machine, its checksum as `params.yaml` says."""
        return fetch(self.entry)

    def load(self, path: Path) -> tuple[Backbone, Mask]:
        """The backbone with every weight from `path`, and which of them are not zero."""
        return load(self.backbone, class_names(self.entry), path)

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
        """Write the checkpoint, the folder that later stages look for rounds in, then the record.

        The checkpoint holds what the network takes, too: where that changes, stages that depend on it run again.
        """
        folder = paths.MODELS / self.scale / self.backbone
        takes = json.dumps(dataclasses.asdict(self.architecture), sort_keys=True).encode()
        backbones.save(backbone, folder / "source.safetensors", {"architecture": torch.tensor(list(takes)).byte()})
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


def load(alias: str, names: list[str], path: Path) -> tuple[Backbone, Mask]:
    """The backbone `alias` with every weight from `path`, and which of them are not zero.

    Raises ValueError if the file does not fit the model, or its head does not fit the names of the classes.
    """
    backbone = Backbone(alias, names)
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


def unfit(alias: str, architecture: Architecture, size: int, content: dict) -> Iterator[str]:
    """What the studies of `params.yaml`, whose `content` is sound by itself, ask of `alias` that it cannot do.

    It is told here, and not when parameters are checked, for only the library knows.
    """
    for chosen, key in CANVASES:
        if alias in lookup(content, chosen) and lookup(content, key) != size and not architecture.any_size:
            yield (
                f"{key}: {lookup(content, key)}: {alias!r} takes only {size} px; give that, take {alias!r} out of "
                f"{chosen}, or let it take others by its arguments: {{dynamic_img_size: true}} for ViTs of timm, "
                "{strict_img_size: false} for Swins"
            )
    if alias in lookup(content, "multimodal.backbones"):
        yield from outside_clip.too_deep(alias, architecture, lookup(content, "multimodal.depth"))
    channels = [name for name in lookup(content, "vpns.pruners") if METHODS[name].role == "channels"]
    if alias in lookup(content, "vpns.backbones") and channels and not architecture.batchnorm:
        yield (
            f"vpns.pruners: {channels[0]!r} prunes channels by their BatchNorm factors, and {alias!r} has none; "
            "take it out of vpns.pruners or the backbone out of vpns.backbones"
        )
