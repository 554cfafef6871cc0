"""Models of timm and torchvision as backbones: features, names of weights, and what compression may touch."""

import copy
import functools
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn

from vpstudy import paths
from vpstudy.models import backbones
from vpstudy.models import libraries as outside
from vpstudy.models.architectures import ARCHITECTURES, own, parse
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import OutsideWeights

CLASSES = [f"class {i}" for i in range(7)]
FILE = {"location": "net.safetensors", "sha256": "0" * 64}
VIT = {"embed_dim": 48, "depth": 2, "num_heads": 2}
SWIN = {"embed_dim": 24, "depths": [2, 1, 1, 1], "num_heads": [1, 2, 2, 4]}
WEIGHTS = {
    "residual": {"model": "timm/resnet18"},
    "mobile": {"model": "timm/mobilenetv2_100", "arguments": {"pad_type": "same"}, "mean": [0.5] * 3, "std": [0.5] * 3},
    "tiny_vit": {"model": "timm/vit_tiny_patch16_224", "arguments": {"img_size": 64} | VIT},
    "deit": {"model": "timm/deit_tiny_patch16_224", "arguments": {"dynamic_img_size": True} | VIT},
    "swin": {"model": "timm/swin_tiny_patch4_window7_224", "arguments": {"img_size": 64} | SWIN},
    "squeeze": {"model": "torchvision/squeezenet1_1"},
    "alex": {"model": "torchvision/alexnet"},
    "tv_residual": {"model": "torchvision/resnet18"},
    "tv_mobile": {"model": "torchvision/mobilenet_v2"},
}
WEIGHTS = {alias: entry | FILE for alias, entry in WEIGHTS.items()}
FEATURES = {"residual": 512, "mobile": 1280, "tiny_vit": 48, "deit": 48, "swin": 192}
FEATURES |= {"squeeze": 512, "alex": 4096, "tv_residual": 512, "tv_mobile": 1280}


@functools.cache
def architecture(alias):
    return outside.architecture(alias, OutsideWeights.model_validate(WEIGHTS[alias]))


def plain(alias):
    """The library's own model, with random weights; on the meta device if it has nothing but weights."""
    library, name = WEIGHTS[alias]["model"].split("/")
    arguments = WEIGHTS[alias].get("arguments", {})
    if library == "timm":
        return timm.create_model(name, num_classes=len(CLASSES), **arguments)
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, num_classes=len(CLASSES), **arguments)


@pytest.mark.parametrize("alias", WEIGHTS)
def test_outputs_and_names_of_weights_are_those_of_the_library(alias):
    backbone, model = Backbone(architecture(alias), CLASSES).eval(), plain(alias).eval()
    model.load_state_dict(backbone.model.state_dict(), strict=True, assign=True)
    pictures = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (architecture(alias).mean, architecture(alias).std))
    with torch.no_grad():
        logits, features = backbone(pictures), backbone.features(pictures)
        torch.testing.assert_close(logits, model((pictures - mean) / std), atol=1e-4, rtol=1e-3)
        if alias != "squeeze":  # which rectifies and averages behind its classifier
            torch.testing.assert_close(backbone.classifier(features), logits)
    assert features.shape == (2, FEATURES[alias])
    assert backbone.classifier.in_features == FEATURES[alias]
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(backbone.prunable) == len(layers) - 1
    assert backbone.classifier.weight.shape == layers[-1].weight.shape


def test_features_of_squeezenet_are_the_mean_of_what_enters_its_classifier():
    backbone, pictures = Backbone(architecture("squeeze"), CLASSES).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = backbone.model.features(backbone.normalised(pictures))
        torch.testing.assert_close(backbone.features(pictures), maps.mean((2, 3)))
        torch.testing.assert_close(backbone(pictures), backbone.classifier(maps).relu().mean((2, 3)))


@pytest.mark.parametrize("alias", ["squeeze", "tv_residual"])
def test_a_copy_is_trained_apart(alias):
    backbone = Backbone(architecture(alias), CLASSES).eval()
    copied, pictures = copy.deepcopy(backbone), torch.rand(2, 3, 64, 64)
    copied.features(pictures).sum().backward()
    weights = copied.prunable.values()
    assert all(weight.grad is not None for weight in weights)
    with torch.no_grad():
        before = backbone.features(pictures)
        for weight in weights:
            weight.zero_()
        assert torch.equal(backbone.features(pictures), before)
        assert not torch.equal(copied.features(pictures), before)


def test_what_a_model_takes_is_what_its_library_says():
    of = {alias: architecture(alias) for alias in WEIGHTS}
    assert of["squeeze"].mean == (0.485, 0.456, 0.406)
    assert of["tiny_vit"].mean == (0.5, 0.5, 0.5) and of["deit"].std == (0.229, 0.224, 0.225)
    assert of["mobile"].std == (0.5, 0.5, 0.5)  # as given
    assert {alias for alias in WEIGHTS if not of[alias].any_size} == {"tiny_vit", "swin"}
    assert {alias for alias in WEIGHTS if of[alias].batchnorm} == {"residual", "mobile", "tv_residual", "tv_mobile"}
    sizes = {a: outside.input_size(OutsideWeights.model_validate(WEIGHTS[a])) for a in ("tiny_vit", "deit", "squeeze")}
    assert sizes == {"tiny_vit": 64, "deit": 224, "squeeze": 224}


def test_a_checkpoint_tells_all_that_loading_needs(tmp_path):
    aliases, pictures, made = ("squeeze", "mobile", "swin"), torch.rand(2, 3, 64, 64), {}
    torch.save(pictures, tmp_path / "pictures")
    for alias in aliases:
        made[alias] = Backbone(architecture(alias), CLASSES).eval()
        backbones.save(made[alias], tmp_path / alias)
        assert backbones.load(tmp_path / alias).architecture == architecture(alias)
    code = f"""
import torch
from pathlib import Path
from vpstudy.models import backbones
folder, logits = Path({str(tmp_path)!r}), {{}}
pictures = torch.load(folder / "pictures")
for alias in {aliases}:
    logits[alias] = backbones.load(folder / alias).eval()(pictures)
torch.save(logits, folder / "logits")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=paths.ROOT)  # where no library is loaded yet
    for alias, logits in torch.load(tmp_path / "logits").items():
        torch.testing.assert_close(logits, made[alias](pictures), atol=1e-4, rtol=1e-3, msg=alias)


@pytest.mark.parametrize(
    ("model", "argument", "small"),
    [
        ("timm/vit_tiny_patch16_224", {"dynamic_img_size": True}, VIT),
        ("timm/swin_tiny_patch4_window7_224", {"strict_img_size": False}, SWIN),
    ],
)
def test_arguments_let_transformers_take_other_sizes_with_the_same_weights(model, argument, small):
    other, fixed = (
        outside.architecture("net", OutsideWeights.model_validate({"model": model, "arguments": arguments} | FILE))
        for arguments in (argument | small, small)
    )
    assert other.any_size and not fixed.any_size
    backbone, same = Backbone(other, CLASSES).eval(), Backbone(fixed, CLASSES).eval()
    backbone.model.load_state_dict(same.model.state_dict(), strict=True)
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 64, 64)).shape == (1, 7)
        pictures = torch.rand(1, 3, 224, 224)
        torch.testing.assert_close(backbone(pictures), same(pictures), atol=1e-4, rtol=1e-3)
        with pytest.raises(AssertionError, match="64"):
            same(torch.rand(1, 3, 64, 64))


def test_names_are_read_as_architecture_and_replicate():
    assert parse("squeeze") == ("squeeze", 0) and parse("cnn-r2") == ("cnn", 2)
    assert own("vit-r12") is ARCHITECTURES["vit"]
    for name in ("squeeze", "cnn-r0", "cnn-r01", "cnn-2", "cnn-r"):
        with pytest.raises(ValueError, match="allowed: cnn, vit"):
            own(name)


def test_models_that_cannot_be_used_say_why():
    for model in ("timm/resnet_18", "torchvision/resnet_18", "torchvision/fcn_resnet50"):
        with pytest.raises(ValueError, match="has no such model"):
            outside.architecture("x", OutsideWeights.model_validate(FILE | {"model": model}))
