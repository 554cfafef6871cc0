"""Masks: applying, measuring, storing, and weights that stay zero whatever trains them."""

import copy

import pytest
import torch
from torch import nn

from vpstudy.compression.masks import Mask, release


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 5))


def weights(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.dim() > 1}


def random_mask(module: nn.Module, seed: int = 1) -> Mask:
    generator = torch.Generator().manual_seed(seed)
    return Mask({name: torch.rand(p.shape, generator=generator) < 0.3 for name, p in weights(module).items()})


def loss(module: nn.Module, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return module(torch.rand(8, 3, 6, 6, generator=generator)).square().sum()


def test_density_and_sparsity_are_counted():
    mask = Mask({"a": torch.tensor([[True, False], [False, False]]), "b": torch.tensor([True, True])})
    assert (mask.size, mask.kept, mask.sparsity) == (6, 3, 0.5)
    assert mask.layer_densities == {"a": 0.25, "b": 1.0}


def test_the_dense_mask_keeps_everything():
    mask = Mask.dense(weights(network()))
    assert mask.sparsity == 0
    assert mask.keys() == weights(network()).keys()


def test_apply_zeroes_the_pruned_weights_and_no_others():
    module = network()
    before = copy.deepcopy(weights(module))
    mask = random_mask(module)
    mask.apply_(weights(module))
    for name, weight in weights(module).items():
        assert torch.equal(weight, torch.where(mask[name], before[name], 0))
        assert weight.requires_grad


def test_apply_zeroes_what_is_not_finite():
    weight = torch.tensor([torch.nan, torch.inf, 1.0])
    Mask({"w": torch.tensor([False, False, True])}).apply_({"w": weight})
    assert weight.tolist() == [0, 0, 1]


def test_what_does_not_fit_is_named_and_nothing_is_changed():
    mask = Mask.dense({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(4)})
    given = {"a": torch.ones(2), "b": torch.ones(3, 1), "d": torch.ones(1)}
    with pytest.raises(ValueError, match="mask and parameters do not fit") as error:
        Mask({name: ~kept for name, kept in mask.items()}).apply_(given)
    assert "c is in the mask but not given" in str(error.value)
    assert "d is given but not in the mask" in str(error.value)
    assert "b has shape [3, 1], its mask [3]" in str(error.value)
    assert given["a"].tolist() == [1, 1]


@pytest.mark.parametrize("tensors", [{}, {"w": torch.ones(3)}, {"w": torch.ones(3, dtype=torch.uint8)}])
def test_a_mask_holds_bool_tensors(tensors):
    with pytest.raises(ValueError, match="mask"):
        Mask(tensors)


def test_a_mask_is_frozen():
    kept = torch.tensor([True, False])
    mask = Mask({"w": kept})
    kept[1] = True
    assert mask["w"].tolist() == [True, False]
    with pytest.raises(TypeError):
        mask["w"] = kept


def test_masks_are_equal_where_they_keep_the_same():
    few, many = Mask({"w": torch.tensor([True, False])}), Mask({"w": torch.tensor([True, True])})
    assert few == Mask({"w": torch.tensor([True, False])}) and few != many


def test_tensors_lie_beside_others_in_a_checkpoint():
    module = network()
    mask = random_mask(module)
    tensors = {**module.state_dict(), **mask.to_tensors("mask.")}
    assert Mask.from_tensors(tensors, "mask.") == mask


OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_stay_exactly_zero_through_training(optimizer):
    module = network()
    mask = random_mask(module)
    stepper = OPTIMIZERS[optimizer](module.parameters())
    loss(module, 0).backward()
    stepper.step()  # dense: fills the moments of weights that are pruned afterwards
    identities = {name: id(p) for name, p in module.named_parameters()}
    mask.constrain(module)
    for step in range(5):
        before = {name: module.get_submodule(name[0]).weight.detach().clone() for name in mask}
        stepper.zero_grad()
        loss(module, step).backward()
        stepper.step()
        for name, kept in mask.items():
            now = module.get_submodule(name[0]).weight
            assert (now[~kept] == 0).all()
            assert (now[kept] != before[name][kept]).any(), "nothing was trained"
    release(module)
    assert {name: id(p) for name, p in module.named_parameters()} == identities
    for name, weight in weights(module).items():
        assert (weight[~mask[name]] == 0).all()
        assert (weight[mask[name]] != 0).all()


def test_pruned_weights_stay_zero_when_training_diverges():
    module = network()
    mask = random_mask(module)
    mask.constrain(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    (loss(module, 0) * torch.nan).backward()
    optimizer.step()
    release(module)
    for name, weight in weights(module).items():
        assert (weight[~mask[name]] == 0).all()
        assert weight[mask[name]].isnan().all()


def test_pruned_weights_get_no_gradient_and_the_others_their_own():
    module, reference = network(), network()
    mask = random_mask(module)
    mask.apply_(weights(reference))
    mask.constrain(module)
    loss(module, 0).backward()
    loss(reference, 0).backward()
    for name, kept in mask.items():
        gradient = module.get_submodule(name[0]).parametrizations.weight.original.grad
        assert torch.equal(gradient, torch.where(kept, weights(reference)[name].grad, 0))


def test_a_constrained_network_computes_what_the_masked_one_does_and_so_does_its_copy():
    module, reference = network(), network()
    mask = random_mask(module)
    mask.apply_(weights(reference))
    mask.constrain(module)
    assert torch.equal(loss(module, 0), loss(reference, 0))
    assert torch.equal(loss(copy.deepcopy(module), 0), loss(reference, 0))


def test_release_restores_names_types_and_layout():
    module = network().to(memory_format=torch.channels_last)
    module[4].weight.requires_grad_(False)
    names, layout = set(module.state_dict()), module[0].weight.stride()
    random_mask(module).constrain(module)
    assert module[0].weight.stride() == layout
    release(module)
    assert set(module.state_dict()) == names
    assert type(module[0]) is nn.Conv2d
    assert isinstance(module[0].weight, nn.Parameter)
    assert module[0].weight.stride() == layout
    assert not module[4].weight.requires_grad
    release(module)  # nothing left to do
    assert set(module.state_dict()) == names


def test_constrain_names_what_the_module_does_not_have():
    module = network()
    before = copy.deepcopy(module.state_dict())
    mask = Mask({**random_mask(module), "9.weight": torch.zeros(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"9\.weight is in the mask but not given"):
        mask.constrain(module)
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
