"""Models of timm and torchvision as backbones: features, names of weights, and what compression may touch."""

import copy
import functools
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save
from torch import nn

from vpstudy import paths
from vpstudy.compression.activations import attach, calibrate
from vpstudy.models import backbones, checkpoints, torchvision_models
from vpstudy.models import libraries as outside
from vpstudy.models.architectures import ARCHITECTURES, own
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


def test_an_unknown_architecture_is_refused_with_those_allowed():
    assert own("vit") is ARCHITECTURES["vit"]
    for name in ("squeeze", "cnn-r1", "cnn 1"):
        with pytest.raises(ValueError, match="allowed: cnn, vit"):
            own(name)


def test_models_that_cannot_be_used_say_why():
    for model in ("timm/resnet_18", "torchvision/resnet_18", "torchvision/fcn_resnet50"):
        with pytest.raises(ValueError, match="has no such model"):
            outside.architecture("x", OutsideWeights.model_validate(FILE | {"model": model}))


def entry(model, location=None, **more):
    place = {"location": location, "revision": "a" * 40} if location and location.startswith("hf://") else FILE
    return OutsideWeights.model_validate(place | {"model": model} | more)


IMAGENET, HALF = (0.485, 0.456, 0.406), (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("model", "location", "mean", "arguments"),
    [
        ("timm/vit_base_patch16_224.mae", None, IMAGENET, {}),
        ("timm/vit_base_patch16_224", "hf://timm/vit_base_patch16_224.mae", IMAGENET, {}),
        ("timm/vit_base_patch16_224", "hf://timm/vit_base_patch16_224.sam_in1k/x.safetensors", HALF, {}),
        ("timm/vit_base_patch16_clip_224.metaclip_400m", None, None, {"act_layer": "quick_gelu"}),
        ("timm/vit_base_patch16_clip_quickgelu_224.metaclip_400m", None, None, {}),
        ("torchvision/googlenet", None, IMAGENET, {"transform_input": True}),
        ("open_clip/ViT-B-16", "hf://timm/vit_base_patch16_clip_224.openai", None, {"quick_gelu": True}),
        ("open_clip/ViT-B-16", "hf://timm/vit_base_patch16_clip_224.laion400m_e32", None, {"quick_gelu": False}),
        ("open_clip/RN50", None, None, {"quick_gelu": True}),  # all that open_clip knows of it
    ],
)
def test_what_pictures_and_weights_need_is_that_of_the_weights_given(model, location, mean, arguments):
    found = outside.architecture("net", entry(model, location))
    assert found.arguments == arguments
    assert mean is None or found.mean == mean


def test_the_size_is_that_of_the_weights_given():
    swag = OutsideWeights(model="torchvision/vit_b_16", location="published/IMAGENET1K_SWAG_E2E_V1")
    assert outside.input_size(swag) == outside.architecture("net", swag).arguments["image_size"] == 384
    assert outside.input_size(entry("timm/resnet18.a3_in1k")) == 160


@pytest.mark.parametrize(
    ("model", "location", "said"),
    [
        ("timm/vit_base_patch16_224", None, r"differ in mean and std; give both.* timm/vit_base_patch16_224.mae"),
        ("timm/vit_base_patch16_224", "hf://me/net", "differ in mean and std; give both"),
        ("timm/vit_base_patch16_clip_224", None, "differ in .*arguments.act_layer"),
        ("open_clip/ViT-B-16", None, "differ in arguments.quick_gelu; give it, as these were trained"),
        ("timm/resnet18.a9", None, "there are no such weights; allowed: resnet18.a1_in1k"),
        ("timm/deit_tiny_distilled_patch16_224", None, "its classifier is no single linear layer but 2 heads"),
        ("timm/levit_128s", None, "its classifier is no single linear layer but"),
        ("timm/deepseek_vit_412m_enc", None, "its classifier is no single linear layer but NoneType"),
        ("timm/caformer_s18", None, "its classifier is no single linear layer but MlpHead"),
        ("timm/tf_efficientnet_cc_b0_4e", None, "% of its weights, such as .*, are in no convolution or linear layer"),
    ],
)
def test_what_cannot_be_known_or_used_is_refused_with_what_to_state(model, location, said):
    with pytest.raises(ValueError, match=said):
        outside.architecture("net", entry(model, location))


def test_what_is_stated_goes_before_what_the_library_knows():
    stated = {"mean": [0.1] * 3, "std": [0.2] * 3}
    assert outside.architecture("net", entry("timm/vit_base_patch16_224", **stated)).mean == (0.1, 0.1, 0.1)
    plain = outside.architecture("net", entry("torchvision/googlenet", arguments={"transform_input": False}))
    assert plain.arguments == {"transform_input": False}


def test_googlenet_answers_as_torchvisions_own_maker(tmp_path, monkeypatch):
    state = torchvision.models.googlenet(weights=None, init_weights=False).state_dict()
    path = tmp_path / "net.safetensors"
    path.write_bytes(save({key: value.contiguous() for key, value in state.items()}))
    weights = torchvision.models.GoogLeNet_Weights.DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: state)
    own, pictures = torchvision.models.googlenet(weights=weights).eval(), torch.rand(1, 3, 64, 64)
    preset = weights.transforms()
    mine = Backbone(outside.architecture("net", entry("torchvision/googlenet")), [f"{k}" for k in range(1000)]).eval()
    checkpoints.load(mine.model, path, "net")
    with torch.no_grad():
        wanted = own((pictures - torch.tensor(preset.mean).view(3, 1, 1)) / torch.tensor(preset.std).view(3, 1, 1))
        torch.testing.assert_close(mine(pictures), wanted, atol=1e-4, rtol=1e-3)
    assert not any("aux" in name for name in mine.prunable)


@pytest.mark.parametrize("model", ["torchvision/regnet_x_400mf", "timm/dla46x_c"])
def test_networks_made_with_tensors_or_ending_in_a_convolution_work(model):
    backbone = Backbone(outside.architecture("net", entry(model)), CLASSES).eval()
    with torch.no_grad():
        assert backbone.features(torch.rand(2, 3, 64, 64)).shape == (2, backbone.classifier.in_features)
    assert len(backbone.prunable) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in backbone.model.modules()) - 1


ATTENTION = {
    "vit": lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=7),
    "swin": lambda: torchvision.models.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=7),
}


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_of_torchvision_is_pruned_and_quantized_and_computes_the_same(kind, tmp_path):
    torch.manual_seed(0)
    own = ATTENTION[kind]().eval()
    for parameter in own.parameters():
        nn.init.normal_(parameter, 0, 0.2)
    # as published: linear_1 for the first layer of an MLP
    old = {
        k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v for k, v in own.state_dict().items()
    }
    path = tmp_path / "net.safetensors"
    path.write_bytes(
        save({key: value.contiguous() for key, value in (old if kind == "vit" else own.state_dict()).items()})
    )
    mine, pictures = ATTENTION[kind]().eval(), torch.rand(2, 3, 32, 32)
    torchvision_models.call_layers(mine)
    checkpoints.load(mine, path, "net")
    with torch.no_grad():
        torch.testing.assert_close(mine(pictures), own(pictures), atol=1e-5, rtol=1e-4)
    layers = {name: m for name, m in mine.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    held = {id(m.weight) for m in layers.values()}
    left = [name for name, p in mine.named_parameters() if p.ndim > 1 and id(p) not in held]
    assert all("position" in name or "pos_" in name or name == "class_token" for name in left), left
    bits = {f"{name}.weight": 4 for name in layers}
    attach(mine, calibrate(mine, bits, [pictures]), bits)
    mine(pictures).sum().backward()
    assert all(module.weight.grad is not None for module in layers.values())


def test_layers_that_are_not_called_are_found():
    called = outside.architecture("net", entry("torchvision/swin_t"))
    assert outside.unreached(called, 224) == []
    other = outside.architecture("net", entry("timm/beit_base_patch16_224"))
    assert outside.unreached(other, 224) == [f"blocks.{k}.attn.qkv" for k in range(12)]
