"""Compressed backbones: made by name, measured, stored, loaded again."""

import pytest
import torch

from vpstudy import backbones, paths
from vpstudy.backbones import Backbone
from vpstudy.compression import compressed
from vpstudy.compression.iterative import iterative_magnitude_pruning
from vpstudy.compression.making import MAKERS, make
from vpstudy.compression.names import FAMILIES

CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoints that the stages source and imp leave, from untrained weights."""
    place = tmp_path_factory.mktemp("models") / "tiny" / "cnn"
    backbone = Backbone("cnn", CLASSES, seed=0)
    backbones.save(backbone, place / "source.safetensors")
    early = Backbone("cnn", CLASSES, seed=1).model.state_dict()
    iterative_magnitude_pruning(
        backbone.model, backbone.prunable, early, [0.5, 0.8], lambda *_: None, place / "imp", "test"
    )
    return place


def test_every_family_can_be_made():
    assert MAKERS.keys() == FAMILIES.keys()


@pytest.mark.parametrize(
    ("name", "sparsity", "bits"),
    [("dense", 0, 32), ("imp-0.80", 0.8, 32), ("magnitude-0.90", 0.9, 32), ("int4", 0, 4), ("int2", 0, 2)],
)
def test_facts_are_measured_on_the_weights(folder, name, sparsity, bits):
    made = make("cnn", name, folder)
    facts, weights = made.facts(), made.weights()
    assert facts["sparsity"] == pytest.approx(sparsity, abs=1e-5)
    assert facts["bits"] == bits
    assert facts["zero_weights"] == pytest.approx((weights == 0).float().mean().item())
    assert facts["parameters"] == sum(p.numel() for p in made.backbone.model.parameters())
    assert facts["prunable"] == len(weights)
    assert facts["sparsity_of_all"] == pytest.approx(facts["sparsity"] * len(weights) / facts["parameters"])
    assert set(facts["layers"]) == set(made.backbone.prunable)


def test_a_dense_compression_is_the_source_bit_for_bit(folder):
    source = backbones.load("cnn", folder / "source.safetensors")
    dense = make("cnn", "dense", folder).backbone
    state = dense.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in source.model.state_dict().items())


def test_quantized_channels_hold_few_values_and_others_stay(folder):
    source, made = (make("cnn", name, folder).backbone for name in ("dense", "int2"))
    for name, weight in made.prunable.items():
        assert all(len(channel.unique()) <= 3 for channel in weight.detach()), name
    assert torch.equal(source.classifier.weight, made.classifier.weight)


def test_sizes_follow_from_what_is_stored(folder):
    sizes = {name: make("cnn", name, folder).facts()["bytes"] for name in ("dense", "magnitude-0.90", "int4", "int2")}
    dense = make("cnn", "dense", folder)
    n, parameters = dense.mask.size, dense.facts()["parameters"]
    channels = sum(len(weight) for weight in dense.backbone.prunable.values())
    others = 4 * (parameters - n)
    assert sizes["dense"] == 4 * parameters
    assert sizes["magnitude-0.90"] == others + 4 * (n - round(0.9 * n)) + -(-n // 8)
    assert sizes["int4"] == others + sum(-(-w.numel() // 2) for w in dense.backbone.prunable.values()) + 4 * channels
    assert sizes["int2"] < sizes["int4"] < sizes["dense"]


@pytest.mark.parametrize("name", ["imp-0.50", "int4"])
def test_what_is_stored_comes_back(folder, tmp_path, name):
    made, path = make("cnn", name, folder), tmp_path / "x.safetensors"
    made.save(path)
    loaded = compressed.load("cnn", name, path)
    assert loaded.mask == made.mask
    assert loaded.bits == made.bits
    assert torch.equal(loaded.weights(), made.weights())
    assert loaded.backbone.class_names == CLASSES


def test_one_that_is_not_stored_is_made_on_the_spot_and_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", folder.parents[1])
    before = sorted(folder.rglob("*"))
    assert compressed.obtain("tiny", "cnn", "int3").bits == 3
    assert sorted(folder.rglob("*")) == before


def test_a_round_that_imp_has_not_written_says_what_to_do(folder):
    with pytest.raises(FileNotFoundError, match=r"imp\.rounds"):
        make("cnn", "imp-0.95", folder)


@pytest.mark.parametrize("name", ["imp-0.80", "int4"])
def test_constraining_keeps_a_copy_compressed_through_a_step(folder, name):
    made = make("cnn", name, folder)
    made.constrain(made.backbone.model)
    made.backbone.requires_grad_(True).train()
    optimizer = torch.optim.SGD(made.backbone.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        made.backbone(torch.rand(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    for weight_name, weight in made.backbone.prunable.items():
        if name == "int4":
            assert all(len(channel.unique()) <= 15 for channel in weight.detach())
        else:
            assert (weight[~made.mask[weight_name]] == 0).all()
            assert weight.abs().sum() > 0
