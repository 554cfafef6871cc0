"""Weight quantization: torch's fake quantization as the oracle, edge cases, training straight through."""

import copy

import pytest
import torch
from torch import nn

from vpstudy.compression import quantization
from vpstudy.compression.masks import Mask, release
from vpstudy.compression.quantization import dequantize, fake_quantize, packed_bytes, quantize_weight

BITS = range(2, 9)
SHAPES = [(6, 10), (8, 3, 3, 3)]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", BITS)
def test_bit_for_bit_torchs_fake_quantization(bits, shape):
    weight = normal(*shape)
    integers, scales = quantize_weight(weight, bits)
    end = 2 ** (bits - 1) - 1
    zero_points = torch.zeros(len(weight), dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, -end, end)
    assert torch.equal(fake_quantize(weight, bits), expected)
    assert torch.equal(dequantize(integers, scales), expected)
    assert integers.dtype == torch.int8
    assert scales.dtype == torch.float32


@pytest.mark.parametrize("bits", BITS)
def test_bit_for_bit_torchs_where_values_lie_between_two_levels(bits):
    end = 2 ** (bits - 1) - 1
    steps = torch.rand(200, 1, generator=torch.Generator().manual_seed(0))
    weight = torch.arange(-2 * end, 2 * end + 1) * (steps / 2)
    zero_points = torch.zeros(len(weight), dtype=torch.int32)
    scales = quantize_weight(weight, bits)[1]
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zero_points, 0, -end, end)
    assert torch.equal(fake_quantize(weight, bits), expected)


@pytest.mark.parametrize("bits", BITS)
def test_the_range_is_symmetric_and_used_to_its_end(bits):
    weight = normal(16, 64)
    integers, scales = quantize_weight(weight, bits)
    assert (integers.abs().amax(1) == 2 ** (bits - 1) - 1).all()
    assert torch.equal(quantize_weight(-weight, bits)[0], -integers)
    half_a_step = scales[:, None] / 2 * (1 + 1e-5)
    assert ((fake_quantize(weight, bits) - weight).abs() <= half_a_step).all()


def test_known_values():
    weight = torch.tensor([[1.0, 0.6, 0.4, -0.6, -1.0], [0.0, 0.0, 0.3, -0.1, 0.2]])
    integers, scales = quantize_weight(weight, 2)
    assert integers.tolist() == [[1, 1, 0, -1, -1], [0, 0, 1, 0, 1]]
    assert scales.tolist() == pytest.approx([1.0, 0.3])
    assert quantize_weight(torch.tensor([[7.0, -7.0, 3.4, -0.6, 0.1]]), 4)[0].tolist() == [[7, -7, 3, -1, 0]]


@pytest.mark.parametrize("bits", BITS)
def test_quantizing_twice_is_quantizing_once(bits):
    weight = normal(500, 40)
    once = fake_quantize(weight, bits)
    assert torch.equal(quantize_weight(once, bits)[0], quantize_weight(weight, bits)[0])
    torch.testing.assert_close(fake_quantize(once, bits), once, rtol=1e-6, atol=0)


def test_at_most_so_many_levels_a_channel():
    for bits in BITS:
        assert max(len(row.unique()) for row in fake_quantize(normal(4, 2000), bits)) <= 2**bits - 1


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-45])
def test_channels_without_weight_become_zero_not_nan(bits, value):
    weight = torch.stack([torch.full((5,), value), torch.ones(5)])
    assert fake_quantize(weight, bits).tolist() == [[0] * 5, [1] * 5]
    assert quantize_weight(weight, bits)[0][0].tolist() == [0] * 5


def test_half_precision_stays_half_precision():
    weight = normal(4, 9).half()
    quantized = fake_quantize(weight, 4)
    assert quantized.dtype == torch.float16
    assert torch.equal(quantized, fake_quantize(weight.float(), 4).half())


def test_what_diverged_is_an_error_in_storage_and_visible_in_training():
    weight = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="not finite"):
        quantize_weight(weight, 4)
    assert fake_quantize(weight, 4).isnan().tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 2.5, 32])
def test_bits_outside_the_range_are_an_error(bits):
    for call in (
        lambda: quantize_weight(torch.ones(2, 2), bits),
        lambda: fake_quantize(torch.ones(2, 2), bits),
        lambda: packed_bytes(torch.ones(2, 2), bits),
        lambda: quantization.constrain(nn.Linear(2, 2), {"weight": bits}),
    ):
        with pytest.raises(ValueError, match=f"from 2 to 8, got {bits}"):
            call()


def test_a_bias_has_no_channels():
    with pytest.raises(ValueError, match=r"at least two dimensions.*\[3\]"):
        fake_quantize(torch.ones(3), 4)


def test_packed_bytes():
    convolution, linear = torch.zeros(8, 3, 3, 3), torch.zeros(3, 3)
    assert [packed_bytes(convolution, bits) for bits in (8, 4, 2)] == [8 * 27 // k + 8 * 4 for k in (1, 2, 4)]
    assert [packed_bytes(linear, bits) for bits in (8, 4, 2)] == [k + 3 * 4 for k in (9, 5, 3)]


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5))


NAMES = ["0.weight", "3.weight"]


def test_the_gradient_passes_straight_through():
    module, rounded = network(), network()
    with torch.no_grad():
        for layer in (rounded[0], rounded[3]):
            layer.weight.copy_(fake_quantize(layer.weight, 3))
    quantization.constrain(module, dict.fromkeys(NAMES, 3))
    pictures = normal(8, 3, 6, 6)
    outputs = [net(pictures) for net in (module, rounded)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    for index in (0, 3):
        latent = module[index].parametrizations.weight.original
        assert torch.equal(latent.grad, rounded[index].weight.grad)
        assert (latent.grad != 0).any()


@pytest.mark.parametrize("bits", [2, 4])
def test_a_network_stays_quantized_while_it_learns(bits):
    module = network()
    quantization.constrain(module, dict.fromkeys(NAMES, bits))
    start = copy.deepcopy(module[0].weight.detach())
    optimizer = torch.optim.Adam(module.parameters(), 0.05, weight_decay=5e-4)
    pictures, losses = normal(16, 3, 6, 6), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (module(pictures) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        for index in (0, 3):
            weight = module[index].weight.detach()
            assert max(len(row.unique()) for row in weight.flatten(1)) <= 2**bits - 1
    assert losses[-1] < losses[0] / 2
    quantized = module[0].weight.detach().clone()
    release(module)
    assert torch.equal(module[0].weight, quantized)
    assert not torch.equal(quantized, start)
    assert set(module.state_dict()) == set(network().state_dict())


def test_pruned_and_quantized_at_once():
    module = network()
    mask = Mask({name: normal(*module.get_parameter(name).shape, seed=1) > 0 for name in NAMES})
    mask.constrain(module)
    release(module)
    quantization.constrain(module, dict.fromkeys(NAMES, 4))
    release(module)
    for name in NAMES:
        assert (module.get_parameter(name)[~mask[name]] == 0).all()
