"""The real integer path against the simulated one."""

import pytest
import torch

from vpstudy.compression import activations, integer, quantization
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone


@pytest.fixture
def vit():
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return Backbone(Architecture("tiny", "timm/vit_tiny_patch16_224", small), [str(k) for k in range(6)]).frozen()


def needs_exact_products():
    """Without VNNI, pairs of products of int8 saturate at 16 bits."""
    ends = torch.full((32, 64), 127, dtype=torch.int8)
    if (torch._int_mm(ends, ends.T.contiguous()) != 64 * 127**2).any():
        pytest.skip("this CPU multiplies int8 with overflow")


def test_integers_are_what_they_should_come_to(vit):
    """Two ways to the same numbers: products of int8, and of whole numbers held as floats."""
    needs_exact_products()
    pictures = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    real, emulated = integer.to_int8(vit)(pictures), integer.emulate(vit)(pictures)
    assert torch.equal(real, emulated)
    assert not torch.equal(emulated, vit(pictures))


def test_emulated_weights_are_whole_numbers_of_a_step(vit):
    name, layer = next(iter(integer.linear_layers(vit).items()))
    emulated = integer.emulate(vit).model.get_submodule(name)
    assert torch.equal(emulated.weight, emulated.weight.round())
    assert emulated.weight.min() >= -128 and emulated.weight.max() == 127
    steps = layer.weight.abs().amax(1) / 127.5
    assert torch.allclose(emulated.scales, steps)
    off = (emulated.weight * steps[:, None] - layer.weight).abs()
    assert (off <= 0.5001 * steps[:, None]).all()


def test_integers_agree_with_the_simulation_and_are_small(vit):
    pictures = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    converted = integer.to_int8(vit)
    real = converted(pictures)
    linear = [n for n in vit.prunable if "patch_embed" not in n]
    layers = [name.removesuffix(".weight") for name in linear]
    ranges = activations.calibrate(vit.model, layers, [vit.normalised(pictures)], 8)
    simulated = integer.copy.deepcopy(vit)
    with torch.no_grad():
        for name in linear:
            weight = simulated.model.get_parameter(name)
            weight.copy_(quantization.fake_quantize(weight, 8))
    activations.attach(simulated.model, ranges, 8)
    dense, rounded = vit(pictures), simulated(pictures)
    assert not torch.equal(real, dense)
    spread = dense.std()
    # ranges by row there and by layer here: both are within a few hundredths of the float network, and of each other
    assert integer.agreement(real, rounded)["mean_difference"] < 0.05 * spread
    assert integer.agreement(real, dense)["mean_difference"] < 0.05 * spread
    assert integer.agreement(dense, dense) == {
        "same_predictions": 1.0, "largest_difference": 0.0, "mean_difference": 0.0,
    }  # fmt: skip


def test_bytes_are_counted_as_held(vit):
    float_bytes, int_bytes = integer.stored_bytes(vit), integer.stored_bytes(integer.to_int8(vit))
    assert float_bytes == 4 * sum(p.numel() for p in vit.model.parameters())
    linear = [w for name, w in vit.prunable.items() if "patch_embed" not in name]
    saved = 3 * sum(w.numel() for w in linear)
    assert float_bytes - int_bytes == pytest.approx(saved, rel=0.05)  # scales take a little of it
    assert integer.latency(vit, torch.rand(1, 3, 32, 32), repeats=2) > 0


def test_a_convolutional_network_has_nothing_to_convert():
    for convert in (integer.to_int8, integer.emulate):
        with pytest.raises(ValueError, match="no linear layer but its classifier"):
            convert(Backbone(ARCHITECTURES["cnn"], ["a", "b"]))


def test_the_classifier_stays(vit):
    assert len(integer.linear_layers(vit)) == 8  # qkv, projection and two of the MLP in each of two blocks
    for converted in (integer.to_int8(vit), integer.emulate(vit)):
        assert torch.equal(converted.classifier.weight, vit.classifier.weight)
