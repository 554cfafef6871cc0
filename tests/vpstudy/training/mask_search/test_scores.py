"""Scores before training: each against brute force on a tiny network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vpstudy.compression.magnitude import prune_lowest
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.training.mask_search.scores import grasp, random_scores, snip, synflow


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 16, 3)
    ).double()


def weights(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.dim() > 1}


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(1)
    pictures = torch.rand(6, 3, 4, 4, generator=draw, dtype=torch.float64)
    return pictures, torch.randint(3, (6,), generator=draw)


def flat_loss(model, pictures, labels, temperature=1.0):
    return F.cross_entropy(model.train()(pictures) / temperature, labels)


def test_snip_is_the_effect_of_a_connection_on_the_loss(batch):
    model = network()
    scores, step = snip(model, weights(model), *batch), 1e-6
    for name, weight in weights(model).items():
        for place in [(0,) * weight.dim(), tuple(s - 1 for s in weight.shape)]:
            losses = []
            for connection in (1 + step, 1 - step):
                changed = copy.deepcopy(model)
                with torch.no_grad():
                    dict(changed.named_parameters())[name][place] *= connection
                losses.append(flat_loss(changed, *batch).item())
            assert scores[name][place].item() == pytest.approx(abs(losses[0] - losses[1]) / (2 * step), rel=1e-5)


def test_grasp_is_half_the_change_of_the_squared_gradient_norm(batch):
    model, step = network(), 1e-5
    scores = grasp(model, weights(model), *batch, temperature=2.0)

    def squared_norm(model):
        loss = flat_loss(model, *batch, temperature=2.0)
        return sum((g**2).sum() for g in torch.autograd.grad(loss, list(weights(model).values()))).item()

    for name, weight in weights(model).items():
        for place in [(0,) * weight.dim(), tuple(s - 1 for s in weight.shape)]:
            norms = []
            for factor in (1 + step, 1 - step):
                changed = copy.deepcopy(model)
                with torch.no_grad():
                    dict(changed.named_parameters())[name][place] *= factor
                norms.append(squared_norm(changed))
            # d(g.g) / d(factor) = 2 w . Hg
            assert scores[name][place].item() == pytest.approx((norms[0] - norms[1]) / (4 * step), rel=1e-4)


def test_grasp_keeps_what_carries_the_gradient(batch):
    """Published: remove the largest of −w · Hg. Here the weight with the smallest w · Hg goes first."""
    model = network()
    scores = grasp(model, weights(model), *batch)
    mask = prune_lowest(scores, 1 / sum(s.numel() for s in scores.values()))
    ((name, place),) = [(n, tuple(k.logical_not().nonzero()[0].tolist())) for n, k in mask.items() if not k.all()]
    assert -scores[name][place] == max((-s).max() for s in scores.values())


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_synflow_scores_are_sums_over_paths(activation):
    """One round on a chain of linear layers: the score of a weight is the sum of the paths through it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False), activation(), nn.Linear(4, 2)).double()
    model[1].weight.data *= 100  # beyond the upper end of ReLU6
    first, second = model[1].weight.detach().abs(), model[3].weight.detach().abs()
    paths = {
        "1.weight": torch.zeros_like(first),
        "3.weight": torch.zeros_like(second),
    }
    for i in range(3):
        for h in range(4):
            for o in range(2):
                value = first[h, i] * second[o, h]
                paths["1.weight"][h, i] += value
                paths["3.weight"][o, h] += value
    expected = prune_lowest(paths, 0.5)
    assert synflow(model, weights(model), 0.5, (3, 1, 1), iterations=1) == expected


def test_synflow_is_exact_and_leaves_every_layer_alive():
    model = network()
    mask = synflow(model, weights(model), 0.9, (3, 4, 4))
    total = sum(w.numel() for w in weights(model).values())
    assert total - mask.kept == round(0.9 * total)
    assert all(density > 0 for density in mask.layer_densities.values())


@pytest.mark.parametrize("score", [snip, grasp])
def test_the_model_is_left_as_it_was(score, batch):
    model = network().eval()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    score(model, weights(model), *batch)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model.training and not model[0].weight.requires_grad and model[4].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_synflow_leaves_the_model_as_it_was_even_after_an_error():
    model = network().float()
    before = copy.deepcopy(model.state_dict())
    synflow(model, weights(model), 0.5, (3, 4, 4), iterations=3)
    with pytest.raises(RuntimeError):
        synflow(model, weights(model), 0.5, (3, 5, 5), iterations=3)
    for key, value in model.state_dict().items():
        assert torch.equal(before[key], value) and before[key].dtype == value.dtype


def test_random_scores_follow_from_the_seed():
    model = network()
    one, same, other = (random_scores(weights(model), seed)["4.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() < 1


def test_synflow_refuses_nonsense():
    model = network()
    with pytest.raises(ValueError, match="iterations=0"):
        synflow(model, weights(model), 0.5, (3, 4, 4), iterations=0)
    with pytest.raises(ValueError, match=r"sparsity=1\.0"):
        synflow(model, weights(model), 1.0, (3, 4, 4))


@pytest.mark.parametrize("score", ["snip", "grasp", "synflow"])
def test_a_branch_that_is_shut_at_the_start_is_not_pruned_as_a_whole(score):
    """The last BatchNorm of a residual branch starts with factors of zero, which every score would multiply."""
    backbone = Backbone(ARCHITECTURES["cnn"], [str(k) for k in range(10)])
    shut = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d) and not m.weight.any()]
    assert shut
    pictures, labels = torch.rand(32, 3, 32, 32), torch.arange(32) % 10
    if score == "synflow":
        mask = synflow(backbone.model, backbone.prunable, 0.8, (3, 32, 32), iterations=10)
    else:
        mask = prune_lowest({"snip": snip, "grasp": grasp}[score](backbone, backbone.prunable, pictures, labels), 0.8)
    assert min(mask.layer_densities.values()) > 0
    assert all(not m.weight.any() for m in shut)


def test_synflow_leaves_a_transformer_its_blocks():
    backbone = Backbone(ARCHITECTURES["vit"], [str(k) for k in range(10)])
    before = {name: p.clone() for name, p in backbone.named_parameters()}
    mask = synflow(backbone.model, backbone.prunable, 0.866, (3, 32, 32), iterations=20)
    assert min(mask.layer_densities.values()) > 0.01
    assert mask.sparsity == pytest.approx(0.866, abs=1e-4)
    assert all(torch.equal(before[name], p) for name, p in backbone.named_parameters())
    norms = [m for m in backbone.modules() if isinstance(m, nn.LayerNorm)]
    assert norms and not any(m._forward_hooks for m in norms)
