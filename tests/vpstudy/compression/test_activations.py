"""Activation quantization and learned steps, against torch's kernel and against the formulas written out."""

import copy

import pytest
import torch
from torch import nn

from vpstudy.compression import activations, layers, learned_steps, quantization
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone

BITS = {"0.weight": 4, "3.weight": 4}  # of the two layers of `model`


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 2))


@pytest.fixture
def batches():
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(8, 3, 4, 4, generator=draw) for _ in range(2)]


def test_the_range_is_that_of_what_was_seen_and_holds_zero(model, batches):
    ranges = activations.calibrate(model, BITS, batches)
    scale, zero_point = ranges["0.weight"].tolist()
    seen = torch.cat(batches)
    assert scale == pytest.approx((seen.max() - seen.min()).item() / 15, rel=1e-5)
    assert abs(scale * (0 - zero_point) - seen.min().item()) <= scale / 2
    assert ranges["3.weight"][1] == 0  # after a ReLU nothing is negative


def test_rounding_is_that_of_a_loop():
    scale, zero_point, bits = 0.3, 2, 3
    values = torch.linspace(-2, 3, 41)
    rounded = activations.fake_quantize(values, scale, zero_point, bits)
    for value, found in zip(values.tolist(), rounded.tolist(), strict=True):
        integer = min(max(round(value / scale) + zero_point, 0), 7)
        near_a_tie = abs(value / scale - round(value / scale - 0.5) - 0.5) < 1e-4
        assert near_a_tie or found == pytest.approx((integer - zero_point) * scale, abs=1e-6)


@pytest.mark.parametrize(("scale", "zero_point", "bits"), [(0.02, 100, 8), (0.3, 0, 4), (0.0437, 15, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_and_its_gradient_are_those_of_torch_s_kernel(scale, zero_point, bits, dtype):
    values = (torch.randn(4, 50, 50, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    ours, theirs = (values.clone().requires_grad_() for _ in range(2))
    found = activations.fake_quantize(ours, scale, zero_point, bits)
    wanted = torch.fake_quantize_per_tensor_affine(theirs.float(), scale, zero_point, 0, 2**bits - 1).to(dtype)
    assert torch.equal(found, wanted)
    weights = torch.linspace(-1, 1, values.numel()).view_as(values).to(dtype)
    found.backward(weights), wanted.backward(weights)
    assert torch.equal(ours.grad, theirs.grad) and (ours.grad == 0).any() and torch.equal(values, ours)


def test_gradients_pass_inside_the_range_only():
    values = torch.tensor([-5.0, -0.1, 0.2, 5.0], requires_grad=True)
    activations.fake_quantize(values, 0.1, 8, 4).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 0]


def test_mse_ranges_err_less_on_values_with_outliers():
    values = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    values.flatten()[0] = 40.0
    layer = nn.Sequential(nn.Conv2d(3, 1, 1))
    errors = {}
    for ranges in ("minmax", "mse"):
        scale, zero_point = activations.calibrate(layer, {"0.weight": 4}, [values], ranges)["0.weight"].tolist()
        errors[ranges] = (activations.fake_quantize(values, scale, round(zero_point), 4) - values).square().sum()
    assert errors["mse"] < errors["minmax"]


def test_hooks_are_copied_with_the_model(model, batches):
    plain = model(batches[0])
    bits = {"0.weight": 2, "3.weight": 2}
    activations.attach(model, activations.calibrate(model, bits, batches), bits)
    rounded = model(batches[0])
    assert not torch.allclose(plain, rounded)
    assert torch.equal(copy.deepcopy(model)(batches[0]), rounded)


def test_every_prunable_layer_of_a_backbone_is_reached():
    backbone = Backbone(ARCHITECTURES["cnn"], list("abc")).frozen()
    ranges = activations.calibrate(backbone.model, dict.fromkeys(backbone.prunable, 8), [torch.randn(2, 3, 32, 32)])
    assert list(ranges) == list(backbone.prunable)


@pytest.mark.parametrize("model", ["timm/resnet10t", "torchvision/squeezenet1_1"])
def test_features_that_a_probe_reads_are_not_those_that_the_classifier_rounds(model):
    backbone, pictures = Backbone(Architecture("net", model), list("abc")).frozen(), torch.rand(2, 3, 64, 64)
    features, logits, (name,) = backbone.features(pictures), backbone(pictures), layers.last(backbone)
    ranges = activations.calibrate(backbone.model, {name: 2}, [backbone.normalised(pictures)])
    activations.attach(backbone.model, ranges, {name: 2})
    assert torch.equal(backbone.features(pictures), features)
    assert not torch.allclose(backbone(pictures), logits)


def test_calibration_refuses_what_makes_no_sense(model, batches):
    with pytest.raises(ValueError, match="no input has reached"):
        activations.calibrate(model, {"0.weight": 4}, [])
    with pytest.raises(ValueError, match=r"give 2 to 8 bits"):
        activations.calibrate(model, {"0.weight": 1}, batches)


def test_learned_steps_have_the_gradients_of_the_paper():
    """Esser et al., equations 2, 3 and 5, for one weight channel, written out."""
    weight = torch.tensor([[0.05, -0.31, 0.49, 2.0, -3.0]], requires_grad=True)
    learned = learned_steps.LearnedWeight(weight, 3)
    with torch.no_grad():
        learned.steps.fill_(0.2)
    coming = torch.tensor([[1.0, -2.0, 3.0, 5.0, 7.0]])
    (learned(weight) * coming).sum().backward()
    for_step, for_weight = 0.0, []
    for value, gradient in zip(weight.flatten().tolist(), coming.flatten().tolist(), strict=True):
        scaled = value / 0.2
        if scaled <= -3:
            for_step, passed = for_step - 3 * gradient, 0.0
        elif scaled >= 3:
            for_step, passed = for_step + 3 * gradient, 0.0
        else:
            for_step, passed = for_step + (round(scaled) - scaled) * gradient, gradient
        for_weight.append(passed)
    assert learned.steps.grad.item() == pytest.approx(for_step / (5 * 3) ** 0.5, rel=1e-4)
    assert weight.grad.flatten().tolist() == for_weight


def test_a_frozen_model_is_the_trained_one_to_the_last_bit(model, batches):
    learned_steps.attach(model, BITS, BITS, batches)
    steps = [p for name, p in model.named_parameters() if "step" in name]
    assert len(steps) == 4
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    before = [step.detach().clone() for step in steps]
    for _ in range(5):
        loss = nn.functional.cross_entropy(model(batches[0]), torch.arange(8) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, steps, strict=True))  # steps are learned
    trained = model(batches[1])
    scales, ranges = learned_steps.freeze(model)
    assert sorted(dict(model.named_parameters())) == ["0.bias", "0.weight", "3.bias", "3.weight"]
    with torch.no_grad():
        for name in BITS:
            weight = model.get_parameter(name)
            assert torch.equal(quantization.fake_quantize(weight, 4, scales[name]), weight)
    activations.attach(model, ranges, BITS)
    assert torch.allclose(model(batches[1]), trained, atol=1e-6)


def test_mse_scales_are_the_best_of_all_that_are_tried():
    weight = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    weight[0, 0] = 9.0
    scales = quantization.mse_scales(weight, 3)
    widest = quantization.quantize_weight(weight, 3)[1]
    for channel in range(3):
        errors = []
        for share in range(1, 101):
            step = widest[channel].item() * share / 100
            rounded = (weight[channel] / step).round().clamp(-3, 3) * step
            errors.append((rounded - weight[channel]).square().sum().item())
        step = scales[channel].item()
        found = ((weight[channel] / step).round().clamp(-3, 3) * step - weight[channel]).square().sum().item()
        assert found == pytest.approx(min(errors), rel=1e-4)
    assert scales[0] < widest[0]


def test_weights_beyond_a_fixed_range_are_clipped_and_get_no_gradient():
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.4, -5.0, 0.9]]))
    quantization.constrain(layer, {"weight": 2}, {"weight": torch.tensor([0.5])})
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.tolist() == [[0.5, -0.5, 0.5]]
    assert layer.parametrizations.weight.original.grad.tolist() == [[1, 0, 0]]
