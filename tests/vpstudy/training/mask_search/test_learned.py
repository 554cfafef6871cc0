"""Learned masks: scores, gradients and thresholds, against closed forms, finite differences and brute force."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vpstudy.compression.magnitude import magnitude, prune_lowest
from vpstudy.training.mask_search.learned import LearnedMask, initial_scores, mask_gradient


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()


NAMES = ["0.weight", "3.weight"]
PICTURES = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def test_scores_start_as_hydra_defines_them():
    weight = torch.randn(7, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    expected = weight * torch.sqrt(torch.tensor(6 / (3 * 5 * 5))) / weight.abs().max()
    torch.testing.assert_close(initial_scores(weight), expected)
    assert initial_scores(weight).abs().max().item() == pytest.approx((6 / 75) ** 0.5)
    assert not initial_scores(torch.zeros(2, 3)).any()  # not NaN


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.95, 0.999])
def test_sparsity_is_exact_after_every_update(sparsity):
    model = network()
    learned = LearnedMask(model, NAMES, sparsity)
    n = sum(scores.numel() for scores in learned.scores)
    draw = torch.Generator().manual_seed(3)
    for _ in range(5):
        with torch.no_grad():
            for scores in learned.scores:
                scores.add_(torch.randn(scores.shape, generator=draw, dtype=torch.float64))
        learned.update()
        mask = learned.mask()
        assert mask.kept == n - round(sparsity * n)
        brute = prune_lowest(dict(zip(NAMES, [s.abs() for s in learned.scores], strict=True)), sparsity)
        assert mask == brute
        for name in NAMES:
            weight = model.get_submodule(name.removesuffix(".weight")).weight
            assert not weight[~mask[name]].any()


def test_equal_scores_leave_the_count_exact():
    model = network()
    with torch.no_grad():
        for name in NAMES:
            model.get_parameter(name).fill_(1.0)
    learned = LearnedMask(model, NAMES, 0.5)
    assert learned.mask().kept == learned.mask().size - round(0.5 * learned.mask().size)


def test_one_layer_starts_at_its_magnitude_mask():
    model = network()
    weight = model.get_parameter("3.weight").detach().clone()
    learned = LearnedMask(model, ["3.weight"], 0.8)
    assert learned.mask() == magnitude({"3.weight": weight}, 0.8)


def test_the_gradient_of_a_score_is_that_of_a_relaxed_mask():
    """Straight through: with m a real number in place of 0 or 1, dL/dm by finite differences, times the sign."""
    model = network()
    learned = LearnedMask(model, NAMES, 0.5)
    mask = {name: kept.double() for name, kept in learned.mask().items()}
    F.cross_entropy(model(PICTURES), LABELS).backward()
    plain = network()
    weights = {name: plain.get_parameter(name).detach().clone() for name in NAMES}

    def loss(name, index, step):
        with torch.no_grad():
            for each in NAMES:
                plain.get_parameter(each).copy_(weights[each] * mask[each])
            plain.get_parameter(name).view(-1)[index] += step * weights[name].view(-1)[index]
            return F.cross_entropy(plain(PICTURES), LABELS).item()

    for name, scores in zip(NAMES, learned.scores, strict=True):
        for index in (0, 5, 17, 50):
            by_differences = (loss(name, index, 1e-6) - loss(name, index, -1e-6)) / 2e-6
            given = scores.grad.view(-1)[index] * scores.detach().view(-1)[index].sign()
            assert given.item() == pytest.approx(by_differences, abs=1e-7)


def test_weights_get_a_gradient_where_kept_and_none_where_pruned():
    model = network()
    learned = LearnedMask(model, NAMES, 0.5)
    F.cross_entropy(model(PICTURES), LABELS).backward()
    for name in NAMES:
        layer = model.get_submodule(name.removesuffix(".weight"))
        gradient, kept = layer.parametrizations.weight.original.grad, learned.mask()[name]
        assert not gradient[~kept].any()
        assert gradient[kept].any()


def bilevel(m: torch.Tensor, curvature: torch.Tensor, slope: torch.Tensor, gamma: float) -> torch.Tensor:
    """L(m · w*) with L(z) = zᵀAz/2 + cᵀz and w* the minimiser of L(m · w) + γ/2 ‖w‖², solved exactly."""
    hessian = m[:, None] * curvature * m + gamma * torch.eye(len(m), dtype=m.dtype)
    z = m * torch.linalg.solve(hessian, -m * slope)
    return z @ curvature @ z / 2 + slope @ z


@pytest.mark.parametrize("gamma", [0.3, 1.0, 10.0])
def test_bips_gradient_is_exact_for_a_linear_loss(gamma):
    draw = torch.Generator().manual_seed(4)
    slope = torch.randn(6, generator=draw, dtype=torch.float64)
    flat = torch.zeros(6, 6, dtype=torch.float64)
    kept = torch.tensor([True, True, False, True, False, True])
    m = kept.double()
    weight = -m * slope / gamma  # the lower level's solution
    given = mask_gradient(weight, kept, slope, gamma)
    for k in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[k] = 1e-6
        by_differences = (bilevel(m + step, flat, slope, gamma) - bilevel(m - step, flat, slope, gamma)) / 2e-6
        assert given[k].item() == pytest.approx(by_differences.item(), abs=1e-6)


def test_bips_gradient_neglects_the_hessian_less_and_less_as_gamma_grows():
    draw = torch.Generator().manual_seed(5)
    root = torch.randn(5, 5, generator=draw, dtype=torch.float64)
    curvature, slope = root @ root.T, torch.randn(5, generator=draw, dtype=torch.float64)
    kept = torch.tensor([True, False, True, True, True])
    errors = []
    for gamma in (10.0, 100.0, 1000.0):
        m = kept.double().requires_grad_(True)
        exact = torch.autograd.grad(bilevel(m, curvature, slope, gamma), m)[0]
        m = kept.double()
        weight = torch.linalg.solve(m[:, None] * curvature * m + gamma * torch.eye(5), -m * slope)
        given = mask_gradient(weight, kept, curvature @ (m * weight) + slope, gamma)
        errors.append(((given - exact).norm() / exact.norm()).item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_without_gamma_the_implicit_term_is_gone():
    weight, gradient = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -1.0])
    kept = torch.tensor([True, False])
    assert mask_gradient(weight, kept, gradient).tolist() == [1.0, -3.0]
    assert mask_gradient(weight, kept, gradient, 0.5).tolist() == [1.0 - 0.25 / 0.5, -3.0]


def test_release_gives_the_weights_back():
    model = network()
    before = copy.deepcopy(model.state_dict())
    learned = LearnedMask(model, NAMES, 0.9)
    mask = learned.mask()
    learned.release()
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert mask.sparsity == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(("sparsity", "gamma"), [(1.0, 1.0), (-0.1, 1.0), (0.5, 0.0)])
def test_bad_values_are_refused(sparsity, gamma):
    with pytest.raises(ValueError, match="give 0 <= sparsity < 1 and gamma > 0"):
        LearnedMask(network(), NAMES, sparsity, gamma)


def test_scores_that_are_not_finite_are_told():
    learned = LearnedMask(network(), NAMES, 0.5)
    with torch.no_grad():
        learned.scores[0].view(-1)[3] = torch.nan
    with pytest.raises(ValueError, match="diverged"):
        learned.update()
