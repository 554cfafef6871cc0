"""Fused backbones: the same outputs without BatchNorm."""

import pytest
import torch
from torch import nn

from vpstudy.compression import activations
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = Backbone(ARCHITECTURES["cnn"], list("abcde"))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics and weights that change something
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return made.frozen()


@pytest.mark.parametrize("bits", [None, 4])
def test_a_fused_backbone_computes_the_same(backbone, bits):
    if bits:
        layers = [name.removesuffix(".weight") for name in backbone.prunable]
        ranges = activations.calibrate(backbone.model, layers, [torch.randn(4, 3, 32, 32)], bits)
        activations.attach(backbone.model, ranges, bits)
    pictures = torch.rand(3, 3, 32, 32, requires_grad=True)
    copied = fused(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copied.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    one, other = backbone(pictures), copied(pictures)
    # with rounding in between, a value at the edge of two steps may fall to the other side
    scale = one.abs().max()
    assert (one - other).abs().max() < (1e-5 if bits is None else 0.1) * scale
    if bits is None:
        gradients = [torch.autograd.grad(out.square().sum(), pictures)[0] for out in (one, other)]
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-5 * gradients[0].abs().max())
    assert copied.features(pictures).shape == (3, copied.classifier.in_features)
