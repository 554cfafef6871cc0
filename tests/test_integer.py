"""The real integer path against the simulated one."""

import pytest
import torch

from vpstudy import architectures
from vpstudy.architectures import Architecture
from vpstudy.backbones import Backbone
from vpstudy.compression import activations, integer, quantization


@pytest.fixture
def vit(monkeypatch):
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", Architecture("vit_tiny_patch16_224", small))
    return Backbone("tiny", [str(k) for k in range(6)]).frozen()


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
    with pytest.raises(ValueError, match="no linear layer but its classifier"):
        integer.to_int8(Backbone("cnn", ["a", "b"]))
