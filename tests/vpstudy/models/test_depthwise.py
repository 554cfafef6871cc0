"""Depthwise convolutions with gradients in 32 bits or more, against torch's own."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.utils import parametrize

from vpstudy.models.depthwise import Depthwise, quicken


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        Conv2dSame(8, 8, 3, 2, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),  # fast already
        nn.Conv2d(8, 8, 3, 2, 1),  # not depthwise
    )


def test_only_slow_depthwise_layers_are_replaced_and_names_stay():
    plain = layers()
    quick = copy.deepcopy(plain)
    quicken(quick)
    assert [isinstance(layer, Depthwise) for layer in quick] == [False, True, True, False, False]
    assert {name: value.tolist() for name, value in quick.state_dict().items()} == {
        name: value.tolist() for name, value in plain.state_dict().items()
    }


@pytest.mark.parametrize("masked", [False, True])
def test_outputs_and_gradients_are_those_of_torch(masked):
    plain, pictures = layers().double(), torch.rand(2, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    quick = copy.deepcopy(plain)
    quicken(quick)
    found = []
    for network in (plain, quick):
        if masked:
            parametrize.register_parametrization(network[1], "weight", Half())
        loss = network(pictures).square().sum()
        found.append([loss, *torch.autograd.grad(loss, [pictures, *network.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one)


def test_low_precision_costs_no_more_than_its_own_rounding():
    plain, pictures = layers(), torch.rand(4, 3, 16, 16)
    quick = copy.deepcopy(plain)
    quicken(quick)
    exact = torch.autograd.grad(plain(pictures).square().mean(), list(plain.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        loss = quick(pictures).float().square().mean()
    for one, other in zip(exact, torch.autograd.grad(loss, list(quick.parameters())), strict=True):
        assert other.dtype == one.dtype
        assert (other - one).norm() <= 0.05 * one.norm()


def test_gradients_can_be_differentiated_again():
    """As GraSP does."""
    plain = layers()
    quick, pictures = copy.deepcopy(plain), torch.rand(2, 3, 9, 9)
    quicken(quick)
    found = []
    for network in (plain, quick):
        weights = list(network.parameters())
        first = torch.autograd.grad(network(pictures).pow(3).sum(), weights, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), weights))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)
