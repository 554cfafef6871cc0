"""Magnitude pruning: exact counts, ties, monotone masks, torch's own pruning as the oracle."""

import pytest
import torch
from invariants import is_subset
from torch import nn
from torch.nn.utils import prune

from vpstudy.compression.magnitude import lamp, lamp_scores, magnitude, prune_lowest
from vpstudy.compression.masks import Mask


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 11), nn.Linear(11, 3))


def weights(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if name.endswith("weight")}


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.875, 0.99])
def test_pruning_is_torchs_and_leaves_weights_as_they_are(sparsity):
    module = network()
    before = {name: p.detach().clone() for name, p in weights(module).items()}
    mask = magnitude(weights(module), sparsity)
    assert all(torch.equal(p, before[name]) for name, p in weights(module).items())
    prune.global_unstructured([(layer, "weight") for layer in module], prune.L1Unstructured, amount=sparsity)
    for index, layer in enumerate(module):
        assert torch.equal(mask[f"{index}.weight"], layer.weight_mask.bool())


def test_ties_fall_to_the_earliest_and_counts_are_exact():
    mask = magnitude({"b": torch.ones(2, 2), "a": -torch.ones(2, 2)}, 0.25)
    assert mask["b"].flatten().tolist() == [False, False, True, True] and mask["a"].all()
    mask = magnitude({"a": torch.zeros(1000), "b": torch.zeros(777)}, 0.333)
    assert [int((~kept).sum()) for kept in mask.values()] == [592, 0]


def test_masks_are_monotone_and_pruned_weights_count():
    generator = torch.Generator().manual_seed(0)
    mask = None
    for sparsity in (0.2, 0.5, 0.5, 0.9):
        parameters = {name: torch.randn(40, 25, generator=generator) for name in "ab"}  # new values each time
        smaller = magnitude(parameters, sparsity, mask)
        assert smaller.sparsity == pytest.approx(sparsity, abs=1e-12)
        assert mask is None or is_subset(smaller, mask)
        mask = smaller


def test_a_pruned_weight_stays_pruned_whatever_its_score():
    mask = Mask({"w": torch.tensor([False, True, True, True])})
    assert magnitude({"w": torch.tensor([9.0, 1, 2, 0])}, 0.5, mask)["w"].tolist() == [False, True, True, False]
    mask = Mask({"w": torch.tensor([True, True, True, False])})
    assert prune_lowest({"w": torch.tensor([-5.0, 3, -1, 9])}, 0.5, mask)["w"].tolist() == [False, True, True, False]


def test_equal_to_the_mask_is_the_mask_and_less_is_an_error():
    parameters = {"v": torch.arange(4.0), "w": torch.arange(4.0)}
    mask = Mask({"v": torch.tensor([False] * 4), "w": torch.tensor([True] * 4)})
    assert magnitude(parameters, 0.5, mask) == mask
    with pytest.raises(ValueError, match="already pruned 4"):
        magnitude(parameters, 0.25, mask)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_sparsity_outside_the_range_is_an_error(sparsity):
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
        magnitude({"w": torch.ones(4)}, sparsity)


def test_other_errors_name_the_culprit():
    with pytest.raises(ValueError, match=r"not finite.*: v$"):
        magnitude({"w": torch.ones(2), "v": torch.tensor([1.0, torch.nan])}, 0.5)
    with pytest.raises(ValueError, match="v is in the mask but not given"):
        magnitude({"w": torch.ones(2)}, 0.5, Mask.dense({"w": torch.ones(2), "v": torch.ones(2)}))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e15])
def test_lamp_scores_are_those_of_the_definition(scale):
    """Each weight's square over the sum of the squares of all that are no smaller, by brute force."""
    weight = scale * torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    squares = weight.double() ** 2
    expected = torch.stack([square / squares[squares >= square].sum() for square in squares.flatten()])
    assert torch.allclose(lamp_scores(weight).flatten(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_within_a_layer_lamp_ranks_as_magnitude(sparsity):
    """Ties too: many of these weights are equal."""
    draw = torch.Generator().manual_seed(0)
    parameters = {f"{k}": torch.randint(-4, 5, (6, 10 * k + 10), generator=draw) / (k + 1) for k in range(3)}
    mask = lamp(parameters, sparsity)
    assert mask.size - mask.kept == round(sparsity * mask.size)
    for name, weight in parameters.items():
        alone = magnitude({name: weight}, 1 - mask.layer_densities[name])
        assert torch.equal(alone[name], mask[name])


def test_lamp_keeps_dense_layers_and_a_weight_of_every_other():
    parameters = {"small": 1e-6 * torch.randn(2, 3), "dense": 1e-9 * torch.randn(2, 2), "large": torch.randn(9, 10)}
    mask = lamp(parameters, 0.94, dense=["dense"])
    assert mask.size - mask.kept == round(0.94 * 100) == 94
    assert mask["dense"].all() and mask["small"].sum() == mask["large"].sum() == 1
    with pytest.raises(
        ValueError, match=r"is 95 of 100 weights, and at most 94 \(0\.9400\) may go: 1 layers stay dense"
    ):
        lamp(parameters, 0.95, dense=["dense"])


def test_a_layer_of_zeros_goes_first():
    mask = lamp({"zeros": torch.zeros(2, 5), "w": torch.randn(2, 5)}, 0.5)
    assert not mask["zeros"].any() and mask["w"].all()
