"""An entry of the section `weights` as an Architecture: what it says, and for the rest what its library knows."""

import dataclasses
from typing import Any

import timm
import torch
from torch import nn

from vpstudy.models import open_clips, torchvision_models
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import network
from vpstudy.models.image_tower import ImageTower
from vpstudy.models.text_tower import TextTower
from vpstudy.models.weights import OutsideWeights

STEP = 32  # px; by so much larger pictures are tried: a multiple of the strides of usual networks


def architecture(alias: str, entry: OutsideWeights) -> Architecture:
    """The architecture of `entry`, called `alias`.

    Raises ValueError where the library has no such model, or its weights differ in mean and std and none are given.
    """
    size, mean, std = _takes(entry)
    if (entry.mean or mean) is None or (entry.std or std) is None:
        raise ValueError(f"{entry.model}: its weights differ in mean and std; give both, as these were trained")
    plain = Architecture(alias, entry.model, entry.arguments, tuple(entry.mean or mean), tuple(entry.std or std))
    return dataclasses.replace(plain, **_traits(plain, entry.size or size))


def input_size(entry: OutsideWeights) -> int:
    """Side of the pictures that the weights were made for, px."""
    return entry.size or _takes(entry)[0]


def hub_name(entry: OutsideWeights) -> str:
    """Where timm keeps its own weights of the model on the hub, ORG/REPO. Raises ValueError where there are none."""
    config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"{entry.model}: timm has no weights of it on the hub; give location")
    return config.hf_hub_id


def _takes(entry: OutsideWeights) -> tuple[int, list[float] | None, list[float] | None]:
    """Side of a picture, mean and std, as the library says; None where they differ between weights of a model.

    Raises ValueError where the library has no such model.
    """
    if entry.library == "open_clip":
        return open_clips.takes(entry.name, entry.arguments)
    if entry.library == "torchvision":
        return torchvision_models.takes(entry.name, entry.arguments)
    if not timm.is_model(entry.name.partition(".")[0]):
        raise ValueError(f"{entry.model}: timm has no such model; `timm.list_models()` names all")
    config = timm.get_pretrained_cfg(entry.name)
    return entry.arguments.get("img_size", config.input_size[-1]), list(config.mean), list(config.std)


def _traits(architecture: Architecture, size: int) -> dict[str, Any]:
    """Whether it has BatchNorm, and takes larger pictures than those of side `size`. Nothing is computed.

    Of a CLIP also how many blocks of both towers a prompt may enter.
    """
    with torch.device("meta"), torch.no_grad():
        model = network(architecture).eval()
        try:
            model(torch.zeros(1, 3, size + STEP, size + STEP))
            any_size = True
        except (AssertionError, RuntimeError):
            any_size = False
    batchnorm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    blocks = {"blocks": _blocks(model)} if isinstance(model, open_clips.ClipLike) else {}
    return {"batchnorm": batchnorm, "any_size": any_size} | blocks


def _blocks(clip: open_clips.ClipLike) -> int | None:
    """How many blocks of both towers a prompt may enter; None where the image tower is no transformer."""
    try:
        return min(TextTower(clip).layers, ImageTower(clip).layers)
    except ValueError:
        return None
