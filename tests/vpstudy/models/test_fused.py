"""Fused backbones: the same outputs without BatchNorm."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from vpstudy.compression import activations
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import fused


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = Backbone(ARCHITECTURES["cnn"], list("abcde"))
    return trained(made)


def trained(made: nn.Module) -> nn.Module:
    """With statistics and weights of BatchNorm that change something, frozen."""
    torch.manual_seed(0)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("bits", [None, 4])
def test_a_fused_backbone_computes_the_same(backbone, bits):
    if bits:
        each = dict.fromkeys(backbone.prunable, bits)
        ranges = activations.calibrate(backbone.model, each, [torch.randn(4, 3, 32, 32)])
        activations.attach(backbone.model, ranges, each)
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


@pytest.mark.parametrize(
    ("model", "size", "left"),
    [
        ("timm/test_resnet", 32, 0),
        ("timm/mobilenetv2_100", 32, 0),
        ("timm/densenet121", 32, 62),  # outputs of convolutions are concatenated before their BatchNorm
        ("timm/repvgg_a0", 32, 17),  # shortcuts are a BatchNorm alone
        ("timm/coatnet_nano_rw_224", 224, 7),  # a shortcut reads the convolution before a block's first BatchNorm
        ("torchvision/shufflenet_v2_x0_5", 32, 0),
    ],
)
def test_networks_of_the_libraries_compute_the_same(model, size, left):
    backbone = trained(Backbone(Architecture("net", model), list("abcde")))
    copied, pictures = fused(backbone, size), torch.rand(2, 3, size, size)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in copied.modules()) == left
    with torch.no_grad():
        for one, other in (
            (backbone(pictures), copied(pictures)),
            (backbone.features(pictures), copied.features(pictures)),
        ):
            assert (one - other).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.parametrize(("size", "kernel", "stride"), [(9, 3, 2), (12, 5, 2), (11, 3, 3), (8, 1, 2)])
@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_gradients_of_depthwise_convolutions_with_a_stride_are_those_of_torch(backbone, kind, size, kernel, stride):
    backbone.model = trained(Small(lambda net, x: net.norm(net.one(x))))
    backbone.model.one = kind(3, 3, kernel, stride, padding=kernel // 2, groups=3).requires_grad_(False)
    pictures = torch.rand(2, 3, size, size, requires_grad=True)
    copied = fused(backbone, size)
    assert not any(isinstance(m, nn.Conv2d) for m in (copied.model.one, copied.model.norm))
    found, wanted = (torch.autograd.grad(b(pictures).square().sum(), pictures)[0] for b in (copied, backbone))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


class Small(nn.Module):
    """Two convolutions, two BatchNorms and a classifier, with timm's interface; `wire` connects them."""

    def __init__(self, wire, convolution=nn.Conv2d):
        super().__init__()
        self.one, self.two = convolution(3, 3, 3, padding=1), convolution(3, 3, 3, padding=1)
        self.norm, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head, self.wire = nn.Linear(3, 5), wire

    def forward_features(self, pictures):
        return self.wire(self, pictures)

    def forward_head(self, features, pre_logits=False):
        pooled = features.mean((2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, pictures):
        return self.forward_head(self.forward_features(pictures))


class Doubled(nn.Conv2d):
    """A convolution that is not linear in its weight: BatchNorm's factors cannot enter it."""

    def forward(self, pictures):
        return self._conv_forward(pictures, self.weight.tanh(), self.bias)


def around(net, x):
    y = net.one(x)
    return net.norm(y) + y


def in_place(net, x):
    y = net.one(x)
    z = net.norm(y)
    return z + y.relu_()


def another_call(net, x):
    return net.one(net.norm(net.one(x)))


def two_norms(net, x):
    return net.norm(net.one(x)) + net.other(net.one(x.flip(3)))


def one_norm(net, x):
    return net.norm(net.two(net.norm(net.one(x))))


def sliced(net, x):
    y = net.one(x)
    return torch.cat([net.norm(y)[:, :1], y[:, 1:]], 1)


def by_method(net, x):
    y = net.one(x)
    return net.norm(y) * y.norm()


def twice(net, x):
    return net.norm(net.one(net.norm(net.one(x))))


@pytest.mark.parametrize(
    ("wire", "left"),
    [
        (around, 2),
        (in_place, 2),
        (another_call, 2),
        (two_norms, 2),
        (one_norm, 2),
        (sliced, 2),
        (by_method, 2),
        (twice, 1),
    ],
)
def test_only_what_a_batchnorm_alone_reads_at_every_call_is_folded(backbone, wire, left):
    backbone.model = trained(Small(wire))
    copied, pictures = fused(backbone), torch.rand(2, 3, 32, 32)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in copied.modules()) == left
    torch.testing.assert_close(copied(pictures), backbone(pictures), rtol=1e-5, atol=1e-5)


def test_outputs_that_would_change_are_told_and_nothing_is_folded(backbone):
    backbone.model = trained(Small(twice, Doubled))
    pictures = torch.rand(2, 3, 32, 32)
    with pytest.warns(UserWarning, match="cnn is used without folding its BatchNorm, which would change its outputs"):
        copied = fused(backbone)
    assert torch.equal(copied(pictures), backbone(pictures))


def test_a_network_that_cannot_be_followed_is_told_and_left_as_it_is(backbone):
    backbone.model = trained(Small(lambda net, x: net.norm(net.one(x)) if x.sum() > 0 else x))
    pictures = torch.rand(2, 3, 32, 32)
    with pytest.warns(UserWarning, match="cnn is used without folding its BatchNorm: .*control flow"):
        copied = fused(backbone)
    assert torch.equal(copied(pictures), backbone(pictures))
