"""Models of timm, torchvision and open_clip by name: what they take; torchvision's behind timm's interface."""

import functools
import json
from typing import Any

import timm
import torch
import torchvision
from timm.models import register_model
from torch import Tensor, nn

from vpstudy.models import open_clips as outside_clip
from vpstudy.models.architectures import Architecture
from vpstudy.models.weights import OutsideWeights

STEP = 32  # px; by so much larger pictures are tried: a multiple of the strides of usual networks


class _Reached(Exception):
    """Carries what enters the classifier out of the forward pass."""


class TimmLike:
    """What `vpstudy.models.backbones` needs of timm's interface, for a network of another library as it is.

    Mixed into the class of a model, so that the names of its weights stay those of the library.
    """

    classifier_name: str

    def get_classifier(self) -> nn.Module:
        layer = self.get_submodule(self.classifier_name)
        if isinstance(layer, nn.Conv2d):
            layer.in_features = layer.in_channels
        return layer

    def forward_features(self, pictures: Tensor) -> Tensor:
        """What enters the classifier: (N, F), or maps (N, F, H, W) where it is a convolution."""

        def stop(_, inputs: tuple[Tensor, ...]) -> None:
            raise _Reached(inputs[0])

        hook = self.get_classifier().register_forward_pre_hook(stop)
        try:
            self(pictures)
        except _Reached as reached:
            return reached.args[0]
        finally:
            hook.remove()
        raise RuntimeError(f"{self.classifier_name} was not reached")

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """Pooled features (N, F). There are no logits here: a head may go on behind its classifier."""
        return features.mean((2, 3)) if features.ndim == 4 else features


@register_model
def from_torchvision(
    pretrained: bool = False,
    pretrained_cfg=None,
    pretrained_cfg_overlay=None,
    cache_dir=None,
    *,
    name: str,
    num_classes: int = 1000,
    **arguments,
) -> nn.Module:
    """The classification model `name` of torchvision, with random weights.

    Raises ValueError where its classifier cannot be found.
    """
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    model.classifier_name = _classifier(model, name, num_classes, _input(f"torchvision/{name}", arguments)[0])
    model.__class__ = type(f"TimmLike{type(model).__name__}", (TimmLike, type(model)), {})
    return model


def _classifier(model: nn.Module, name: str, num_classes: int, size: int) -> str:
    """The layer of `model` that makes the logits: of those with as many outputs, the last that one picture passes."""
    passed: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, key=key: passed.append(key))
        for key, module in model.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == num_classes)
        or (isinstance(module, nn.Conv2d) and module.out_channels == num_classes and module.kernel_size == (1, 1))
    ]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    if not passed:
        raise ValueError(
            f"{name}: no classifier was found; looked for the last linear layer or 1 × 1 convolution "
            f"with {num_classes} outputs"
        )
    return passed[-1]


def architecture(entry: OutsideWeights) -> Architecture:
    """What `entry` says of the model, and for the rest what its library does."""
    arguments, name = dict(entry.arguments), entry.name
    size, mean, std = _input(entry.model, arguments)
    if (entry.mean or mean) is None or (entry.std or std) is None:
        raise ValueError(f"{entry.model}: its weights differ in mean and std; give both, as these were trained")
    if entry.library != "timm":
        maker = from_torchvision if entry.library == "torchvision" else outside_clip.from_open_clip
        arguments, name = {"name": name} | arguments, maker.__name__
    traits = _traits(name, json.dumps(arguments, sort_keys=True), entry.size or size)
    return Architecture(name, arguments, tuple(entry.mean or mean), tuple(entry.std or std), **traits)


def input_size(entry: OutsideWeights) -> int:
    """Side of the pictures that the weights were made for, px."""
    return entry.size or _input(entry.model, entry.arguments)[0]


def hub_name(entry: OutsideWeights) -> str:
    """Where timm keeps its own weights of the model on the hub, ORG/REPO. Raises ValueError where there are none."""
    config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"{entry.model}: timm has no weights of it on the hub; give location")
    return config.hf_hub_id


def _input(model: str, arguments: dict[str, Any]) -> tuple[int, list[float] | None, list[float] | None]:
    """Side of a picture, mean and std, as the library says. Raises ValueError where it has no such model.

    Mean and std are None where they are not the same for all weights of a model.
    """
    library, _, name = model.partition("/")
    if library == "open_clip":
        return outside_clip.takes(name, arguments)
    if library == "timm":
        if not timm.is_model(name.partition(".")[0]):
            raise ValueError(f"{model}: timm has no such model; `timm.list_models()` names all")
        config = timm.get_pretrained_cfg(name)
        size, mean, std = config.input_size[-1], config.mean, config.std
    else:
        if name not in torchvision.models.list_models(torchvision.models):
            raise ValueError(f"{model}: torchvision has no such model; `torchvision.models.list_models()` names all")
        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        size, mean, std = preset.crop_size[0], preset.mean, preset.std
    return arguments.get("img_size", arguments.get("image_size", size)), list(mean), list(std)


@functools.cache
def _traits(name: str, arguments: str, size: int) -> dict[str, Any]:
    """Whether a timm model has BatchNorm, and takes larger pictures than those of side `size`. Nothing is computed.

    Of a CLIP also how many blocks of both towers a prompt may enter.
    """
    with torch.device("meta"), torch.no_grad():
        model = timm.create_model(name, **json.loads(arguments)).eval()
        try:
            model(torch.zeros(1, 3, size + STEP, size + STEP))
            any_size = True
        except (AssertionError, RuntimeError):
            any_size = False
    batchnorm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    blocks = {"blocks": outside_clip.blocks(model)} if isinstance(model, outside_clip.ClipLike) else {}
    return {"batchnorm": batchnorm, "any_size": any_size} | blocks
