"""Architecture of an entry of `weights`: the entry's own values, completed from its library."""

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

STEP = 32  # px by which larger pictures are tried: a multiple of common strides


def architecture(alias: str, entry: OutsideWeights) -> Architecture:
    """Architecture of `entry`, called `alias`. Raises ValueError for an unknown model, or missing mean or std."""
    size, mean, std = _takes(entry)
    if (entry.mean or mean) is None or (entry.std or std) is None:
        raise ValueError(f"{entry.model}: its weights differ in mean and std; give both, as these were trained")
    plain = Architecture(alias, entry.model, entry.arguments, tuple(entry.mean or mean), tuple(entry.std or std))
    return dataclasses.replace(plain, **_traits(plain, entry.size or size))


def input_size(entry: OutsideWeights) -> int:
    """Side of the pictures that the weights were made for, px."""
    return entry.size or _takes(entry)[0]


def hub_name(entry: OutsideWeights) -> str:
    """Hub repository, ORG/REPO, of timm's own weights of the model. Raises ValueError if there are none."""
    config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"{entry.model}: timm has no weights of it on the hub; give location")
    return config.hf_hub_id


def _takes(entry: OutsideWeights) -> tuple[int, list[float] | None, list[float] | None]:
    """Picture side, mean and std from the library; the last two are None if its weights differ in them."""
    if entry.library == "open_clip":
        return open_clips.takes(entry.name, entry.arguments)
    if entry.library == "torchvision":
        return torchvision_models.takes(entry.name, entry.arguments)
    if not timm.is_model(entry.name.partition(".")[0]):
        raise ValueError(f"{entry.model}: timm has no such model; `timm.list_models()` names all")
    config = timm.get_pretrained_cfg(entry.name)
    return entry.arguments.get("img_size", config.input_size[-1]), list(config.mean), list(config.std)


def _traits(architecture: Architecture, size: int) -> dict[str, Any]:
    """Whether it has BatchNorm and takes pictures larger than `size`; for a CLIP also `_blocks`. Computes nothing."""
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
    """Number of blocks that a prompt may enter in both towers; None if either tower takes no prompts."""
    try:
        return min(TextTower(clip).layers, ImageTower(clip).layers)
    except ValueError:
        return None
