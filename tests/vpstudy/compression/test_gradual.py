"""Gradual pruning, structured pruning, and networks of other shapes."""

import copy

import pytest
import torch
from torch import nn

from vpstudy.compression.channels import macs, prune_channels
from vpstudy.compression.gradual import GradualPruning, cubic_sparsity
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.models.shapes import fit_shapes


def test_the_schedule_is_the_published_cubic():
    assert cubic_sparsity(0, 0.9, 10, 20) == cubic_sparsity(10, 0.9, 10, 20) == 0
    assert cubic_sparsity(15, 0.9, 10, 20) == pytest.approx(0.9 - 0.9 * 0.5**3)
    assert cubic_sparsity(20, 0.9, 10, 20) == cubic_sparsity(99, 0.9, 10, 20) == 0.9


def test_weights_go_bit_by_bit_and_stay_away():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5))
    names = ["0.weight", "1.weight"]
    pruning, optimizer = GradualPruning(names, 0.8, 2, 12, 2), torch.optim.Adam(model.parameters(), 0.1)
    pruned_before = torch.zeros(300, dtype=torch.bool)
    for step in range(1, 16):
        model(torch.randn(4, 10)).square().sum().backward()
        optimizer.step()
        pruning(step, model)
        weights = torch.cat([model.get_parameter(name).flatten() for name in names])
        assert not (weights[pruned_before] != 0).any()
        if pruning.mask is not None:
            pruned_before = ~torch.cat([kept.flatten() for kept in pruning.mask.values()])
        if step >= 12:
            assert int((weights == 0).sum()) == 240
        if step == 3:
            assert pruning.mask is None or pruning.mask.sparsity < 0.8
    with pytest.raises(ValueError, match="begin=5, end=5"):
        GradualPruning(names, 0.8, 5, 5, 1)


@pytest.fixture
def backbone():
    return Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(7)]).frozen()


def test_macs_are_those_of_a_count_by_hand():
    class Tiny:
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 64, 5, bias=False))
        parameters = model.parameters

    assert macs(Tiny, 8) == pytest.approx(64 * 4 * 3 * 9 + 4 * 64 * 5)


def test_channels_are_gone_for_good(backbone, tmp_path):
    before, macs_before = sum(p.numel() for p in backbone.parameters()), macs(backbone, 32)
    prune_channels(backbone, 0.5, 32)
    backbone.frozen()
    after = sum(p.numel() for p in backbone.parameters())
    assert after < 0.35 * before and macs(backbone, 32) < 0.35 * macs_before
    pictures = torch.rand(2, 3, 32, 32)
    logits = backbone(pictures)
    assert logits.shape == (2, 7)
    assert backbone.features(pictures).shape == (2, backbone.classifier.in_features)
    assert torch.equal(copy.deepcopy(backbone)(pictures), logits)
    backbones.save(backbone, tmp_path / "small.safetensors")
    loaded = backbones.load(tmp_path / "small.safetensors").frozen()
    assert all(torch.equal(one, other) for one, other in zip(loaded.parameters(), backbone.parameters(), strict=True))
    torch.testing.assert_close(loaded(pictures), logits, rtol=1e-4, atol=1e-5)


def test_shapes_that_fit_are_left_alone(backbone):
    before = list(backbone.model.parameters())
    fit_shapes(backbone.model, backbone.model.state_dict())
    assert all(a is b for a, b in zip(before, backbone.model.parameters(), strict=True))


def test_a_share_of_channels_outside_0_and_1_is_refused(backbone):
    with pytest.raises(ValueError, match=r"ratio is 1\.0"):
        prune_channels(backbone, 1.0, 32)
