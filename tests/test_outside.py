"""Models of timm and torchvision as backbones: features, names of weights, and what compression may touch."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from vpstudy.models import libraries as outside
from vpstudy.models.architectures import ARCHITECTURES, checking, read
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import OutsideWeights

CLASSES = [f"class {i}" for i in range(7)]
FILE = {"location": "net.safetensors", "sha256": "0" * 64}
WEIGHTS = {
    "residual": {"model": "timm/resnet18"},
    "mobile": {"model": "timm/mobilenetv2_100", "arguments": {"pad_type": "same"}, "mean": [0.5] * 3, "std": [0.5] * 3},
    "tiny_vit": {"model": "timm/vit_tiny_patch16_224", "arguments": {"img_size": 64}},
    "deit": {"model": "timm/deit_tiny_patch16_224", "arguments": {"dynamic_img_size": True}},
    "swin": {"model": "timm/swin_tiny_patch4_window7_224", "arguments": {"img_size": 64}},
    "squeeze": {"model": "torchvision/squeezenet1_1"},
    "vgg": {"model": "torchvision/vgg11"},
    "tv_residual": {"model": "torchvision/resnet18"},
    "tv_mobile": {"model": "torchvision/mobilenet_v2"},
}
WEIGHTS = {alias: entry | FILE for alias, entry in WEIGHTS.items()}
FEATURES = {"residual": 512, "mobile": 1280, "tiny_vit": 192, "deit": 192, "swin": 768}
FEATURES |= {"squeeze": 512, "vgg": 4096, "tv_residual": 512, "tv_mobile": 1280}


@pytest.fixture(autouse=True)
def named():
    with checking(WEIGHTS):
        yield


def plain(alias):
    """The library's own model, with random weights."""
    library, name = WEIGHTS[alias]["model"].split("/")
    arguments = WEIGHTS[alias].get("arguments", {})
    if library == "timm":
        return timm.create_model(name, num_classes=len(CLASSES), **arguments)
    return torchvision.models.get_model(name, weights=None, num_classes=len(CLASSES), **arguments)


@pytest.mark.parametrize("alias", WEIGHTS)
def test_outputs_and_names_of_weights_are_those_of_the_library(alias):
    backbone, model, architecture = Backbone(alias, CLASSES).eval(), plain(alias).eval(), ARCHITECTURES[alias]
    model.load_state_dict(backbone.model.state_dict(), strict=True)
    pictures = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (architecture.mean, architecture.std))
    with torch.no_grad():
        logits, features = backbone(pictures), backbone.features(pictures)
        torch.testing.assert_close(logits, model((pictures - mean) / std), atol=1e-5, rtol=1e-4)
        if alias != "squeeze":  # which rectifies and averages behind its classifier
            torch.testing.assert_close(backbone.classifier(features), logits)
    assert features.shape == (2, FEATURES[alias])
    assert backbone.classifier.in_features == FEATURES[alias]
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(backbone.prunable) == len(layers) - 1
    assert backbone.classifier.weight.shape == layers[-1].weight.shape


def test_features_of_squeezenet_are_the_mean_of_what_enters_its_classifier():
    backbone, pictures = Backbone("squeeze", CLASSES).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = backbone.model.features(backbone.normalised(pictures))
        torch.testing.assert_close(backbone.features(pictures), maps.mean((2, 3)))
        torch.testing.assert_close(backbone(pictures), backbone.classifier(maps).relu().mean((2, 3)))


@pytest.mark.parametrize("alias", ["squeeze", "tv_residual"])
def test_a_copy_is_trained_apart(alias):
    backbone = Backbone(alias, CLASSES).eval()
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
    def sizes(alias):
        return outside.input_size(OutsideWeights.model_validate(WEIGHTS[alias]))

    assert ARCHITECTURES["squeeze"].mean == (0.485, 0.456, 0.406)
    assert ARCHITECTURES["tiny_vit"].mean == (0.5, 0.5, 0.5) and ARCHITECTURES["deit"].std == (0.229, 0.224, 0.225)
    assert ARCHITECTURES["mobile"].std == (0.5, 0.5, 0.5)  # as given
    assert {alias for alias in WEIGHTS if not ARCHITECTURES[alias].any_size} == {"tiny_vit", "swin"}
    assert {alias for alias in WEIGHTS if ARCHITECTURES[alias].batchnorm} == {
        "residual",
        "mobile",
        "tv_residual",
        "tv_mobile",
    }
    assert (sizes("tiny_vit"), sizes("deit"), sizes("squeeze")) == (64, 224, 224)


@pytest.mark.parametrize(
    ("model", "argument"),
    [("timm/vit_tiny_patch16_224", "dynamic_img_size"), ("timm/swin_tiny_patch4_window7_224", "strict_img_size")],
)
def test_arguments_let_transformers_take_other_sizes_with_the_same_weights(model, argument):
    entry = {"model": model, "arguments": {argument: argument == "dynamic_img_size"}} | FILE
    fixed = OutsideWeights.model_validate({"model": model} | FILE)
    with checking({"net": entry, "fixed": fixed.model_dump()}):
        assert ARCHITECTURES["net"].any_size and not ARCHITECTURES["fixed"].any_size
        backbone, same = Backbone("net", CLASSES).eval(), Backbone("fixed", CLASSES).eval()
    backbone.model.load_state_dict(same.model.state_dict(), strict=True)
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 64, 64)).shape == (1, 7)
        pictures = torch.rand(1, 3, 224, 224)
        torch.testing.assert_close(backbone(pictures), same(pictures), atol=1e-5, rtol=1e-4)
        with pytest.raises(AssertionError, match="64"):
            same(torch.rand(1, 3, 64, 64))


def test_names_are_read_as_backbones_of_elsewhere():
    assert read("squeeze") == ("squeeze", 0) and read("cnn-r2") == ("cnn", 2)
    with pytest.raises(ValueError, match="or of weights: residual, mobile"):
        read("squeeze-r1")
    assert "squeeze" not in ARCHITECTURES  # loops see the study's own alone
    with checking({}), pytest.raises(ValueError, match="allowed: cnn, vit"):
        read("squeeze")


def test_models_that_cannot_be_used_say_why(monkeypatch):
    for model in ("timm/resnet_18", "torchvision/resnet_18", "torchvision/fcn_resnet50"):
        with pytest.raises(ValueError, match="has no such model"):
            outside.architecture(OutsideWeights.model_validate(FILE | {"model": model}))
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: nn.Conv2d(3, 7, 3))
    with pytest.raises(ValueError, match=r"squeezenet1_1: no classifier .* 1 × 1 convolution with 7 outputs"):
        Backbone("squeeze", CLASSES)
