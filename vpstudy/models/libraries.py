"""Architecture of an entry of `weights`: the entry's own values, completed from its library."""

import dataclasses
from typing import Any

import timm
import torch
from timm.models import get_arch_pretrained_cfgs
from torch import nn

from vpstudy.models import open_clips, torchvision_models
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import network
from vpstudy.models.image_tower import ImageTower
from vpstudy.models.text_tower import TextTower
from vpstudy.models.weights import OutsideWeights, Published

STEP = 32  # px by which larger pictures are tried: a multiple of common strides
CLASSES = 1000  # of a network that is only looked at
LEFT_OUT = 0.05  # largest share of weights that may lie in no convolution or linear layer, such as tables of positions


def architecture(alias: str, entry: OutsideWeights) -> Architecture:
    """Architecture of `entry`, called `alias`, with what its weights need; see `OutsideWeights`.

    Raises ValueError for an unknown model, for what must be stated about its weights, and for a network that the study
    cannot compress or adapt.
    """
    known = _published(entry)
    needed = dict.fromkeys(key for each in known for key in each.arguments if key not in entry.arguments)
    found = {"mean": [each.mean for each in known], "std": [each.std for each in known]}
    found = {key: [tuple(given)] if (given := getattr(entry, key)) else values for key, values in found.items()}
    found |= {f"arguments.{key}": [each.arguments.get(key) for each in known] for key in needed}
    if unclear := [key for key, values in found.items() if len(set(values)) != 1]:
        tags = f", or give one of these models: timm/{', timm/'.join(each.name for each in known)}"
        raise ValueError(
            f"{entry.model}: which weights these are cannot be known, and those of this model differ in "
            f"{' and '.join(unclear)}; give {('it', 'both', 'all')[min(len(unclear), 3) - 1]}, as these were trained"
            f"{tags if entry.library == 'timm' and known else ''}"
        )
    arguments = {key: found[f"arguments.{key}"][0] for key in needed}
    arguments = {key: value for key, value in arguments.items() if value is not None} | entry.arguments
    plain = Architecture(alias, entry.model, arguments, found["mean"][0], found["std"][0])
    return dataclasses.replace(plain, **_traits(plain, input_size(entry)))


def input_size(entry: OutsideWeights) -> int:
    """Side of the pictures that the weights were made for, px. Raises ValueError if nothing tells it."""
    stated = entry.size or entry.arguments.get("img_size") or entry.arguments.get("image_size")
    known = _published(entry)
    if not (stated or known):
        raise ValueError(f"{entry.model}: its library does not know the size of pictures; give size")
    return stated or known[0].size


def hub_name(entry: OutsideWeights) -> str:
    """Hub repository, ORG/REPO, of timm's own weights of the model. Raises ValueError if there are none."""
    config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"{entry.model}: timm has no weights of it on the hub; give location")
    return config.hf_hub_id


def unreached(architecture: Architecture, size: int) -> list[str]:
    """Prunable layers that a forward pass does not call, so that their inputs cannot be quantized."""
    model, called = _on_meta(architecture), set()
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module is not model.get_classifier()
    }
    for name, module in layers.items():
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size, device="meta"))
    return [name for name in layers if name not in called]


def _published(entry: OutsideWeights) -> list[Published]:
    """What the library knows of the weights given: of these if it can tell which, else of all of the model."""
    if entry.library == "open_clip":
        return open_clips.published(entry.name, entry.arguments, entry.repository)
    if entry.library == "torchvision":
        return torchvision_models.published(entry.name, entry.tag)
    name, _, tag = entry.name.partition(".")
    if not timm.is_model(name):
        raise ValueError(f"{entry.model}: timm has no such model; `timm.list_models()` names all")
    known = get_arch_pretrained_cfgs(name)
    if tag and entry.name not in known:
        raise ValueError(f"{entry.model}: there are no such weights; allowed: {', '.join(known) or name}")
    chosen = [key for key, config in known.items() if config.hf_hub_id == entry.repository]
    if not chosen and (tag or entry.location is None or entry.published):
        default = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
        chosen = [key for key, config in known.items() if config == default]
    found = []
    for key in chosen or known:
        config = known[key]
        native = "natively QuickGELU" in " ".join(config.notes or ()) and "quickgelu" not in name
        arguments = {"act_layer": "quick_gelu"} if native else {}
        found.append(Published(key, config.input_size[-1], tuple(config.mean), tuple(config.std), arguments))
    return found


def _on_meta(architecture: Architecture) -> nn.Module:
    """The network without values. RegNets of torchvision compute their widths with tensors, so they are made first."""
    try:
        with torch.device("meta"):
            return network(architecture, num_classes=CLASSES).eval()
    except (NotImplementedError, RuntimeError):
        return network(architecture, num_classes=CLASSES).to("meta").eval()


def _traits(architecture: Architecture, size: int) -> dict[str, Any]:
    """Whether it has BatchNorm and takes pictures larger than `size`; for a CLIP also `_blocks`. Computes nothing."""
    model = _on_meta(architecture)
    if not isinstance(model, open_clips.ClipLike):
        _check(model, architecture.model, size)
    with torch.device("meta"), torch.no_grad():
        try:
            model(torch.zeros(1, 3, size + STEP, size + STEP))
            any_size = True
        except (AssertionError, RuntimeError):
            any_size = False
    batchnorm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    blocks = {"blocks": _blocks(model)} if isinstance(model, open_clips.ClipLike) else {}
    return {"batchnorm": batchnorm, "any_size": any_size} | blocks


def _check(model: nn.Module, name: str, size: int) -> None:
    """Raise ValueError unless one linear layer makes logits from features, and layers hold nearly all weights."""
    classifier, layers = getattr(model, "get_classifier", lambda: None)(), (nn.Conv2d, nn.Linear)
    if not isinstance(classifier, layers):
        kind = f"{len(classifier)} heads" if isinstance(classifier, tuple) else type(classifier).__name__
        raise ValueError(
            f"{name}: its classifier is no single linear layer but {kind}, so it cannot be mapped, replaced or left "
            "out of compression; give another network"
        )
    with torch.device("meta"), torch.no_grad():
        features = model.forward_head(model.forward_features(torch.zeros(1, 3, size, size)), pre_logits=True)
    width = classifier.weight.shape[1]
    if features.shape != (1, width):
        raise ValueError(
            f"{name}: its classifier takes {width} features, and before it they have the shape "
            f"{list(features.shape)}; give another network"
        )
    held = {id(m.weight) for m in model.modules() if isinstance(m, layers)}
    matrices = {key: p for key, p in model.named_parameters() if p.ndim > 1 and len(p) > 1}  # (1, …) are tokens
    loose = {key: p.numel() for key, p in matrices.items() if id(p) not in held}
    share = sum(loose.values()) / sum(p.numel() for p in model.parameters())
    if share > LEFT_OUT:
        largest = max(loose, key=loose.get)
        raise ValueError(
            f"{name}: {share:.0%} of its weights, such as {largest}, are in no convolution or linear layer, and would "
            "be neither pruned nor quantized; give another network"
        )


def _blocks(clip: open_clips.ClipLike) -> int | None:
    """Number of blocks that a prompt may enter in both towers; None if either tower takes no prompts."""
    try:
        return min(TextTower(clip).layers, ImageTower(clip).layers)
    except ValueError:
        return None
