"""Backbones: normalisation, features, what compression may touch, and checkpoints."""

import pytest
import torch
from torch import nn

from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone

CLASSES = [f"class {i}" for i in range(7)]


@pytest.fixture
def backbone():
    return Backbone(ARCHITECTURES["cnn"], CLASSES, seed=3).eval()


def test_logits_are_the_classifier_of_the_features(backbone):
    pictures = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = backbone.classifier(backbone.features(pictures))
        assert torch.allclose(backbone(pictures), expected, atol=1e-5)
    assert backbone(pictures).shape == (4, 7)


def test_pictures_are_normalised_inside(backbone):
    pictures, architecture = torch.rand(2, 3, 32, 32), ARCHITECTURES["cnn"]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (architecture.mean, architecture.std))
    with torch.no_grad():
        assert torch.allclose(backbone(pictures), backbone.model((pictures - mean) / std), atol=1e-5)


def test_prunable_weights_are_those_of_all_layers_but_the_classifier(backbone):
    layers = [m for m in backbone.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    named = dict(backbone.model.named_parameters())
    assert len(backbone.prunable) == len(layers) - 1
    assert all(named[name] is weight for name, weight in backbone.prunable.items())
    assert all(weight is not backbone.classifier.weight for weight in backbone.prunable.values())


def test_the_seed_alone_decides_the_initial_weights():
    torch.manual_seed(1)
    first = Backbone(ARCHITECTURES["cnn"], CLASSES, seed=3)
    torch.manual_seed(2)
    again, other = Backbone(ARCHITECTURES["cnn"], CLASSES, seed=3), Backbone(ARCHITECTURES["cnn"], CLASSES, seed=4)
    assert torch.equal(first.model.conv1[0].weight, again.model.conv1[0].weight)
    assert not torch.equal(first.model.conv1[0].weight, other.model.conv1[0].weight)


def test_a_checkpoint_brings_back_weights_and_class_names(backbone, tmp_path):
    path = tmp_path / "deep" / "model.safetensors"
    backbones.save(backbone, path, {"mask.x": torch.tensor([True, False])})
    loaded = backbones.load(path).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(pictures), backbone(pictures))
    assert loaded.class_names == CLASSES
    first = path.read_bytes()
    backbones.save(backbone, path, {"mask.x": torch.tensor([True, False])})
    assert path.read_bytes() == first


def test_layers_under_several_names_are_stored(tmp_path):
    coat = Architecture("coat", "timm/coat_lite_tiny")
    shared = Backbone(coat, CLASSES)
    assert shared.model.cpe1.proj is shared.model.serial_blocks1[1].cpe.proj
    backbones.save(shared, tmp_path / "coat.safetensors")
    loaded = backbones.load(tmp_path / "coat.safetensors").model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in shared.model.state_dict().items())


def test_a_missing_checkpoint_says_what_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        backbones.load(tmp_path / "none.safetensors")
