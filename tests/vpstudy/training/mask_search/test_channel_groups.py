"""Channels: groups, selection, and that closing one and removing it are the same."""

import copy
from types import SimpleNamespace

import pytest
import torch

from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.training.mask_search import channel_groups
from vpstudy.training.mask_search.channel_groups import Group, LearnedChannels, lowest, remove
from vpstudy.training.mask_search.finders import finder
from vpstudy.training.mask_search.methods import METHODS

SIDE = 32
PICTURES = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def backbone():
    backbone = Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(12)], seed=3)
    with torch.no_grad():  # BatchNorm as after training: no statistics, factors or shifts of a fresh network
        for module in backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.running_mean, module.weight, module.bias):
                    tensor.uniform_(-0.5, 1.0)
                module.running_var.uniform_(0.5, 2.0)
    return backbone.frozen()


def test_groups_cover_every_convolution_once(backbone):
    found = channel_groups.groups(copy.deepcopy(backbone), SIDE)
    convolutions = [n for n, m in backbone.model.named_modules() if isinstance(m, torch.nn.Conv2d)]
    assert sorted(name for group in found for name in group.convolutions) == sorted(convolutions)
    assert all(len(group.norms) == len(group.convolutions) for group in found)
    early = set(convolutions[:5])
    for group in found:
        capped = bool(early & set(group.convolutions))
        assert group.most == (int(0.25 * group.size) if capped else group.size - 1)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5])
def test_closed_and_removed_channels_give_the_same_outputs(backbone, ratio):
    closed, removed = copy.deepcopy(backbone), copy.deepcopy(backbone)
    groups = channel_groups.groups(copy.deepcopy(backbone), SIDE)
    learned = LearnedChannels(closed, groups, ratio)
    closed.frozen()
    with torch.no_grad():
        expected = closed(PICTURES)
    kept = learned.kept
    learned.release()
    remove(removed, groups, kept, SIDE)
    total = sum(group.size for group in groups)
    assert sum(int((~stays).sum()) for stays in kept) == round(ratio * total)
    with torch.no_grad():
        torch.testing.assert_close(removed(PICTURES), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(closed(PICTURES), backbone(PICTURES))  # released: nothing is closed
    widths = {
        name: len(stays) for group in groups for name in group.convolutions for stays in [removed_rows(removed, name)]
    }
    assert widths == {
        name: int(stays.sum()) for group, stays in zip(groups, kept, strict=True) for name in group.convolutions
    }


def removed_rows(backbone, name):
    return backbone.model.get_submodule(name).weight


def test_selection_against_brute_force():
    draw = torch.Generator().manual_seed(1)
    groups = [Group(("a",), ("a",), 5, 1), Group(("b",), ("b",), 4, 3), Group(("c",), ("c",), 6, 5)]
    scores = [torch.randn(group.size, generator=draw) for group in groups]
    kept = lowest(scores, groups, 0.4)
    gone = [[] for _ in groups]
    for _, g, c in sorted((abs(v.item()), g, c) for g, s in enumerate(scores) for c, v in enumerate(s)):
        if sum(map(len, gone)) < 6 and len(gone[g]) < groups[g].most:
            gone[g].append(c)
    assert [(~stays).nonzero().flatten().tolist() for stays in kept] == [sorted(each) for each in gone]


def test_more_channels_than_may_go_are_refused():
    with pytest.raises(ValueError, match="would remove 9 of 10 channels, but at most 4 may go"):
        lowest([torch.rand(10)], [Group(("a",), ("a",), 10, 4)], 0.9)


def test_the_gradient_of_a_score_is_that_of_a_relaxed_gate(backbone):
    model = copy.deepcopy(backbone).double()
    model.mean, model.std = model.mean.double(), model.std.double()
    groups = channel_groups.groups(copy.deepcopy(backbone), SIDE)
    learned = LearnedChannels(model, groups, 0.0)  # nothing closed: the gate of every channel is 1
    model.eval()
    model(PICTURES.double()).square().sum().backward()
    plain = copy.deepcopy(backbone).double().frozen()
    for index in (0, 5, len(groups) - 1):
        group, scores = groups[index], learned.scores[index]

        def loss(step, group=group):
            with torch.no_grad():
                for name in group.norms:
                    norm = plain.model.get_submodule(name)
                    norm.weight[2] *= 1 + step
                    norm.bias[2] *= 1 + step
                value = plain(PICTURES.double()).square().sum().item()
                for name in group.norms:
                    norm = plain.model.get_submodule(name)
                    norm.weight[2] /= 1 + step
                    norm.bias[2] /= 1 + step
            return value

        by_differences = (loss(1e-6) - loss(-1e-6)) / 2e-6
        given = (scores.grad[2] * scores.detach()[2].sign()).item()
        assert given == pytest.approx(by_differences, rel=1e-4)


def test_depgraphs_importance_sees_every_layer_of_a_group(backbone):
    groups = channel_groups.groups(copy.deepcopy(backbone), SIDE)
    before = channel_groups.norms_of_groups(copy.deepcopy(backbone), groups, SIDE)
    with torch.no_grad():  # what consumes a channel, and nothing else
        backbone.model.layer1[0].conv2.weight[:, 3] *= 10
    after = channel_groups.norms_of_groups(copy.deepcopy(backbone), groups, SIDE)
    (index,) = [k for k, group in enumerate(groups) if group.convolutions == ("layer1.0.conv1",)]
    assert after[index][3] > before[index][3]
    assert after[index].argmax() == 3


def test_a_network_without_batchnorm_is_refused():
    with pytest.raises(ValueError, match=r"vit: .*: not all channels of .* pass a BatchNorm"):
        channel_groups.groups(Backbone(ARCHITECTURES["vit"], ["a", "b"], seed=0), SIDE)


@pytest.mark.parametrize(
    "model",
    ["timm/mobilenetv2_035", "timm/dla46_c", "timm/test_resnet", "torchvision/resnet18", "timm/efficientnet_lite0"],
)
def test_networks_whose_channels_torch_pruning_follows_are_pruned_exactly(model):
    """Closed and removed channels give the same logits, also with depthwise convolutions and concatenation."""
    backbone = Backbone(Architecture("net", model), list("abcd"), seed=0).frozen()
    found = channel_groups.groups(copy.deepcopy(backbone), SIDE)
    closed = copy.deepcopy(backbone)
    learned = LearnedChannels(closed, found, 0.2)
    with torch.no_grad():
        expected = closed.frozen()(PICTURES)
    remove(backbone, found, learned.kept, SIDE)
    with torch.no_grad():
        found = backbone(PICTURES)
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("torchvision/densenet121", "joined with others, or split"),
        ("timm/res2net50_14w_8s", "joined with others, or split"),
        ("torchvision/shufflenet_v2_x0_5", "cannot remove its channels"),
        ("timm/regnetx_002", "Given groups="),
        ("timm/efficientnet_b0", "not all channels of .* pass a BatchNorm"),
        ("torchvision/squeezenet1_1", "not all channels of .* pass a BatchNorm"),
    ],
)
def test_other_networks_are_refused_in_one_way_before_any_training(model, reason, monkeypatch):
    backbone = Backbone(Architecture("net", model), list("abcd"), seed=0).frozen()
    with pytest.raises(ValueError, match=rf"^net: methods that prune channels .*{reason}.* Take a network whose"):
        channel_groups.groups(backbone, 64)
    run = SimpleNamespace(fresh=lambda *_: SimpleNamespace(backbone=backbone), settings=SimpleNamespace(canvas=64))
    run.method = METHODS["vpns_channels"]  # nothing else: training would fail otherwise
    for pruner in (name for name, method in METHODS.items() if method.role == "channels"):
        with pytest.raises(ValueError, match="methods that prune channels"):
            finder(METHODS[pruner].finder)(run, 0.3)


def test_a_ratio_beyond_what_may_go_is_refused_before_any_training(backbone):
    run = SimpleNamespace(fresh=lambda *_: SimpleNamespace(backbone=backbone), settings=SimpleNamespace(canvas=SIDE))
    for pruner in ("depgraph", "slimming"):
        with pytest.raises(ValueError, match=r"ratio 0\.99 would remove \d+ of \d+ channels"):
            finder(METHODS[pruner].finder)(run, 0.99)
