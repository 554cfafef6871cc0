"""Source backbones, with their own normalisation: pictures in, source logits or pooled features out."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import vpstudy.models.vit  # noqa: F401 (registers itself with timm)
from vpstudy import atomic
from vpstudy.models.architectures import Architecture
from vpstudy.runtime import Runtime, seed_for

METADATA = "backbone"  # the only entry: safetensors has no fixed order, and equal runs must write equal bytes


class Backbone(nn.Module):
    """A model for pictures in [0, 1] with S named source classes. `seed` and `checkpoint` set its random weights.

    Source checkpoints of a backbone are pretrained from other initial weights and on other pictures each.
    """

    def __init__(self, architecture: Architecture, class_names: list[str], seed: int = 0, checkpoint: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("backbone", architecture.name, seed, checkpoint))
            model = network(architecture, num_classes=len(class_names))
        self.architecture, self.checkpoint, self.class_names = architecture, checkpoint, list(class_names)
        self.model = model.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(architecture.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(architecture.std).view(1, 3, 1, 1), persistent=False)

    @property
    def name(self) -> str:
        """Name in messages: `cnn`, and `cnn 1` of its second source checkpoint."""
        return self.architecture.name + (f" {self.checkpoint}" if self.checkpoint else "")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) in [0, 1] → source logits (N, S)."""
        return self.model(self.normalised(pictures))

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) in [0, 1] → pooled features (N, F), the classifier's input."""
        return self.model.forward_head(self.model.forward_features(self.normalised(pictures)), pre_logits=True)

    def normalised(self, pictures: torch.Tensor) -> torch.Tensor:
        """Normalise pictures (N, 3, H, W) in [0, 1] for `model`."""
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    @property
    def classifier(self) -> nn.Linear | nn.Conv2d:
        layer = self.model.get_classifier()
        if isinstance(layer, nn.Conv2d):
            layer.in_features = layer.in_channels
        return layer

    @property
    def prunable(self) -> dict[str, nn.Parameter]:
        """Weights to compress: of convolutions and linear layers but the classifier, which targets replace or map."""
        return {
            f"{name}.weight": module.weight
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear) and module is not self.classifier
        }

    def frozen(self) -> "Backbone":
        """Switch to eval mode without gradients, in place, and return self."""
        return self.eval().requires_grad_(False)


def network(architecture: Architecture, **arguments) -> nn.Module:
    """Model of an architecture with random weights and timm's interface; `arguments` (e.g. num_classes) override."""
    library, _, name = architecture.model.partition("/")
    arguments = architecture.arguments | arguments
    if library == "torchvision":  # imported here: rarely needed, takes seconds
        from vpstudy.models import torchvision_models

        return torchvision_models.create(name, **arguments)
    if library == "open_clip":
        from vpstudy.models import open_clips

        return open_clips.create(name, **arguments)
    return timm.create_model(name, **arguments)


def logits(backbone: Backbone, pictures: torch.Tensor, runtime: Runtime, batch: int = 256) -> torch.Tensor:
    """Source logits (N, S), float32, of uint8 pictures (N, 3, H, W), on the device. Freezes `backbone`."""
    backbone.frozen().to(runtime.device)
    with torch.inference_mode(), runtime.autocast():
        chunks = pictures.split(batch)
        return torch.cat([backbone(chunk.to(runtime.device).float() / 255).float() for chunk in chunks])


def train_statistics(model: nn.Module) -> None:
    """Switch BatchNorm to training mode, except layers whose variance is that of a new one.

    Those were folded into the convolution before (or never trained); normalising by batch would undo the convolution.
    The mean says nothing: `reconstruction` corrects biases in it.
    """
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.track_running_stats:
            norm.train(bool(((norm.running_var - 1).abs() > 2 * norm.eps).any()))  # folding may leave 1 - eps


def load(path: Path) -> Backbone:
    """Load a backbone written by `save`. Raises FileNotFoundError, naming the stages that make it."""
    if not path.exists():
        raise FileNotFoundError(
            f"there is no checkpoint {path.parent.name}/{path.name} yet: `dvc repro` makes it "
            "(stages source, weights, imp and compress)"
        )
    with safe_open(path, "pt") as checkpoint:
        told = json.loads(checkpoint.metadata()[METADATA])
    architecture = Architecture.from_dict(told["architecture"])
    backbone = Backbone(architecture, told["class_names"], checkpoint=told["checkpoint"])
    weights = {k.removeprefix("model."): v for k, v in load_file(path).items() if k.startswith("model.")}
    backbone.model.load_state_dict(weights, strict=True)
    return backbone


def save(backbone: Backbone, path: Path, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write weights, architecture, class names and further `tensors` to one safetensors file."""
    weights = {f"model.{key}": value for key, value in backbone.model.state_dict().items()}
    # copies, since layers under several names share their memory
    content = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in (weights | (tensors or {})).items()
    }
    tells: dict[str, Any] = {
        "architecture": backbone.architecture.to_dict(),
        "class_names": backbone.class_names,
        "checkpoint": backbone.checkpoint,
    }
    atomic.write_bytes(path, serialize(content, {METADATA: json.dumps(tells, sort_keys=True)}))
