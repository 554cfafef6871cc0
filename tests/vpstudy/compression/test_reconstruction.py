"""Layer-wise calibration: least squares, rounding and corrected biases against scikit-learn, brute force and means."""

import copy

import pytest
import torch
from sklearn.linear_model import Ridge
from timm.layers import Conv2dSame, ScaledStdConv2d
from torch import nn

from vpstudy.compression import layers, quantization, reconstruction
from vpstudy.compression.reconstruction import gptq, layer_inputs, least_squares, nearest, reconstruct
from vpstudy.compression.registry import parse
from vpstudy.compression.settings import Compressing, Source
from vpstudy.compression.source_access import SourceAccess
from vpstudy.models import backbones
from vpstudy.models.architectures import Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.models.fused import norms_after
from vpstudy.runtime import Runtime

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv2d(6, 4, 1, bias=False),
        nn.Conv2d(6, 4, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2)),
        nn.Conv2d(6, 4, 3, padding="same", groups=2),
        nn.Conv2d(6, 12, 3, padding=1, groups=6),
        nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
        Conv2dSame(6, 4, 3, stride=2),
    ],
)
def test_outputs_are_the_weight_times_the_inputs_that_are_gathered(layer):
    inputs = torch.rand(3, 5, 6) if isinstance(layer, nn.Linear) else torch.rand(3, 6, 9, 8)
    outputs = layer(inputs)
    outputs = (outputs.movedim(1, -1) if outputs.ndim == 4 else outputs).flatten(0, -2)
    chosen = torch.randperm(len(outputs))[:10].sort().values
    seen = layer_inputs(layer, inputs, chosen)
    weight = layer.weight.flatten(1).unflatten(0, (len(seen), -1))
    products = (seen @ weight.mT).movedim(0, 1).flatten(1) + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(products, outputs[chosen])


class Net(nn.Module):
    """Layers in a row, with what `reconstruct` asks of a backbone."""

    def __init__(self, *modules):
        super().__init__()
        self.model = nn.Sequential(*modules)

    def forward(self, pictures):
        return self.model(pictures)

    def frozen(self):
        return self.eval().requires_grad_(False)


def trained(*modules):
    """Two equal networks, whose BatchNorm does something."""
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    net = Net(*modules)
    return net, copy.deepcopy(net)


@pytest.mark.parametrize("after", [nn.BatchNorm2d(6), nn.ReLU()], ids=["norm", "bias"])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_kept_weights_and_the_bias_are_those_of_ridge_regression(after, groups):
    """Against scikit-learn, an output channel at a time, on inputs that another layer has changed."""
    groups, outputs = (1, 6) if groups == 1 else (groups, 4)
    after = nn.BatchNorm2d(outputs) if isinstance(after, nn.BatchNorm2d) else after
    normed = isinstance(after, nn.BatchNorm2d)
    net, dense = trained(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, outputs, 3, stride=2, groups=groups, bias=not normed), after
    )
    pictures, kept = torch.randn(5, 3, 9, 9), torch.rand(net.model[2].weight.shape) < 0.5
    with torch.no_grad():
        net.model[0].weight.mul_(1.3)
        net.model[2].weight.mul_(kept)
        seen, wanted = net.model[:2](pictures), dense.model[:3](pictures).movedim(1, -1).flatten(0, 2)
        patches = nn.functional.unfold(seen, 3, stride=2).mT.flatten(0, 1).unflatten(1, (groups, -1)).double()
        old = net.model[2].weight.clone()
    reconstruct(net, dense, pictures, {"2.weight": least_squares(kept)})
    new = net.model[2].weight
    bias = dense.model[3].running_mean - net.model[3].running_mean if normed else net.model[2].bias
    assert not new[~kept].any()
    for channel in range(outputs):
        inputs, free = patches[:, channel // (outputs // groups)], kept[channel].flatten()
        start = old[channel].flatten()[free].double()
        ridge = reconstruction.RIDGE * (inputs - inputs.mean(0)).square().mean()
        fitted = Ridge(alpha=ridge.item() * len(inputs), tol=1e-10).fit(
            inputs[:, free], wanted[:, channel] - inputs[:, free] @ start
        )
        torch.testing.assert_close(new[channel].flatten()[free].double(), start + torch.tensor(fitted.coef_), **CLOSE)
        assert bias[channel].item() == pytest.approx(fitted.intercept_, abs=1e-4)


def test_a_layer_without_a_bias_is_solved_through_the_origin():
    net, dense = trained(nn.Linear(5, 3, bias=False))
    kept, pictures = torch.rand(3, 5) < 0.6, torch.rand(1, 3, 40, 5)
    net.model[0].weight.data *= kept
    reconstruct(net, dense, pictures, {"0.weight": least_squares(kept)})
    seen, wanted = pictures.flatten(0, 2).double(), dense.model(pictures).flatten(0, 2).double()
    for channel in range(3):
        free, start = kept[channel], dense.model[0].weight[channel][kept[channel]].double()
        alpha = reconstruction.RIDGE * seen.square().sum().item() / 5
        fitted = Ridge(alpha, fit_intercept=False).fit(seen[:, free], wanted[:, channel] - seen[:, free] @ start)
        torch.testing.assert_close(
            net.model[0].weight[channel][free].double(), start + torch.tensor(fitted.coef_), **CLOSE
        )


def test_of_many_positions_some_stand_for_all(monkeypatch):
    monkeypatch.setattr(reconstruction, "POSITIONS", 300)
    net, dense = trained(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    kept = torch.rand(4, 4, 3, 3) < 0.7
    pictures = nn.functional.interpolate(torch.randn(20, 3, 4, 4), 12)  # neighbours are alike
    with torch.no_grad():
        net.model[2].weight.mul_(kept)
        before = (net.model(pictures) - dense.model(pictures)).square().mean()
    reconstruct(net, dense, pictures, {"2.weight": least_squares(kept)})
    assert (net.model(pictures) - dense.model(pictures)).square().mean() < 0.8 * before


def test_a_layer_that_changes_its_weight_before_use_is_refused():
    net, dense = trained(ScaledStdConv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"0\.weight: its layer does more than multiply"):
        reconstruct(net, dense, torch.rand(2, 3, 6, 6), {"0.weight": least_squares(torch.ones(4, 3, 3, 3) > 0)})


def test_a_layer_that_is_used_twice_is_changed_once():
    shared = nn.Linear(4, 4)
    net, dense = trained(shared, nn.ReLU(), shared)
    net.model[0].weight.data[0] = 0
    calls = []
    reconstruct(net, dense, torch.rand(1, 3, 8, 4), {"0.weight": lambda weight, *_: calls.append(1) or weight})
    assert calls == [1]


def loss(new, weight, gram):
    return ((new - weight) @ gram @ (new - weight).mT).diagonal(dim1=1, dim2=2)


def problem(groups, outputs, inputs):
    """A weight, the covariance of correlated inputs, and scales of least squared error."""
    seen = torch.randn(groups, 200, inputs, dtype=torch.double) @ torch.randn(groups, inputs, inputs).double()
    weight = torch.randn(groups, outputs, inputs, dtype=torch.double)
    return weight, seen.mT @ seen / 200, quantization.mse_scales(weight.flatten(0, 1), 3)


def test_the_second_of_two_weights_makes_up_for_the_first(monkeypatch):
    """Against every value that it could have."""
    monkeypatch.setattr(reconstruction, "DAMPING", 0.0)
    weight, scales = torch.randn(1, 30, 2, dtype=torch.double), torch.full((30,), 0.6)
    gram = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]], dtype=torch.double)
    new = gptq(3, scales)(weight, gram, torch.zeros_like(weight))
    first = quantization.fake_quantize(weight[0], 3, scales)[:, :1]
    assert torch.equal(new[0, :, :1], first)
    grid = torch.arange(-3, 4) * scales.unsqueeze(1)
    tried = torch.stack([loss(torch.cat([first, g.unsqueeze(1)], 1)[None], weight, gram) for g in grid.unbind(1)])
    torch.testing.assert_close(loss(new, weight, gram), tried.amin(0))
    assert (loss(new, weight, gram) < loss(nearest(3, scales)(weight, gram, None), weight, gram)).any()


@pytest.mark.parametrize("shape", [(1, 20, 16), (3, 8, 9)])
def test_gptq_loses_less_than_rounding_to_nearest_and_stays_on_the_grid(shape):
    weight, gram, scales = problem(*shape)
    new, plain = (solve(3, scales)(weight, gram, torch.zeros_like(weight)) for solve in (gptq, nearest))
    assert loss(new, weight, gram).sum() < 0.8 * loss(plain, weight, gram).sum()
    assert torch.equal(quantization.fake_quantize(new.flatten(0, 1), 3, scales), new.flatten(0, 1))
    identity = torch.eye(shape[-1], dtype=torch.double).expand_as(gram)
    torch.testing.assert_close(gptq(3, scales)(weight, identity, torch.zeros_like(weight)), plain)  # independent inputs


def test_gptq_rounds_what_ridge_regression_on_the_changed_inputs_gives():
    """Against scikit-learn: at 8 bits little is rounded."""
    net, dense = trained(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 4))
    pictures = torch.randn(1, 3, 50, 5)
    net.model[0].weight.data *= 1.4
    weight = dense.model[2].weight.data.clone()
    reconstruct(net, dense, pictures, {"2.weight": gptq(8, quantization.mse_scales(weight, 8))})
    seen, wanted = net.model[:2](pictures).flatten(0, 2).double(), dense.model(pictures).flatten(0, 2).double()
    alpha = reconstruction.RIDGE * (seen - seen.mean(0)).square().sum().item() / 3
    fitted = Ridge(alpha).fit(seen, wanted - seen @ weight.double().T)
    expected = quantization.fake_quantize(
        weight + torch.tensor(fitted.coef_).float(), 8, quantization.mse_scales(weight, 8)
    )
    torch.testing.assert_close(net.model[2].weight.data, expected, rtol=0.05, atol=0.01)


@pytest.fixture(scope="module")
def access(tmp_path_factory):
    """A mobile network and its source."""
    folder = tmp_path_factory.mktemp("mobile")
    backbone = Backbone(Architecture("mobile", "timm/mobilenetv2_050"), [f"c{k}" for k in range(26)])
    for norm in (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_var.fill_(0.05)  # so that differences do not die out on the way
    backbones.save(backbone, folder / "source/0.safetensors")
    source = Source(
        seed=0, checkpoints=1, size=32, steps=6, batch=4, learning_rate=0.01, weight_decay=0.0, held_out=100
    )
    runtime = Runtime(torch.device("cpu"), "fp32", 1)
    return SourceAccess(folder, 0, source, Compressing(pictures=32, recovery_from=2), runtime, {})


def test_a_reconstructed_network_keeps_its_mask_and_is_nearer_to_dense(access):
    pictures, dense = access.pictures()[0], access.dense().frozen()
    made, masked = (parse(f"{family}-0.50").make(access) for family in ("reconstructed", "magnitude"))
    assert made.mask == masked.mask
    assert all(torch.equal(made.backbone.prunable[name] != 0, kept) for name, kept in made.mask.items())
    far, farther = ((each.backbone.frozen()(pictures) - dense(pictures)).square().mean() for each in (made, masked))
    assert far < 0.5 * farther


@pytest.mark.parametrize("name", ["int3-bc", "w3a8-bc"])
def test_corrected_biases_leave_no_mean_error_after_any_layer(access, name):
    made, dense = parse(name).make(access).backbone.frozen(), access.dense().frozen()
    means = mean_answers(made, access.pictures()[0]), mean_answers(dense, access.pictures()[0])
    assert len(means[0]) == 52
    torch.testing.assert_close(*means, rtol=1e-3, atol=1e-3)


def mean_answers(backbone, pictures):
    """Mean of each channel of each convolution, less that of the BatchNorm after it."""
    means, pairs = {}, norms_after(backbone.model)

    def note(convolution, _, outputs):
        means[convolution] = outputs.double().mean((0, 2, 3))

    hooks = [convolution.register_forward_hook(note) for convolution in pairs]
    backbone(pictures)
    for hook in hooks:
        hook.remove()
    return [means[convolution] - norm.running_mean for convolution, norm in pairs.items()]


@pytest.mark.parametrize("name", ["int3-gptq", "w4a8-gptq"])
def test_gptq_leaves_weights_on_their_grid_nearer_to_dense(access, name):
    dense, pictures = access.dense().frozen(), access.pictures()[0]
    made, plain = (parse(each).make(access) for each in (name, name.replace("gptq", "mse")))
    for weight, bits in layers.rounded(made.backbone, made.bits).items():
        value = made.backbone.model.get_parameter(weight).detach()
        assert torch.equal(quantization.fake_quantize(value, bits, made.scales[weight]), value)
    far, farther = ((each.backbone.frozen()(pictures) - dense(pictures)).square().mean() for each in (made, plain))
    assert far < farther
