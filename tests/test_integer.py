"""The real integer path against the simulated one."""

import json

import pytest
import torch

from studies import results
from studies.backbones import compress
from studies.hidden_cost import tables
from vpstudy.compression import activations, integer, quantization
from vpstudy.compression.make import Making
from vpstudy.compression.settings import Compressing, Source
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.backbones import Backbone
from vpstudy.runtime import Runtime


@pytest.fixture
def vit(monkeypatch):
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture("tiny", "vit_tiny_patch16_224", small))
    return Backbone(ARCHITECTURES["tiny"], [str(k) for k in range(6)]).frozen()


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


@pytest.fixture
def cell(tmp_path, monkeypatch, vit):
    """A compress cell by backbone and compression, its source checkpoint untrained, its results in a folder."""
    source = Source(seed=0, size=32, steps=6, batch=4, learning_rate=0.01, weight_decay=0.0, held_out=300)
    runtime = Runtime(torch.device("cpu"), "fp32", torch.get_num_threads())
    monkeypatch.setattr(results.path, "__defaults__", (tmp_path / "results",))

    def making(scale: str, backbone: str) -> Making:
        folder = tmp_path / backbone
        backbones.save(Backbone(ARCHITECTURES[backbone], glyphs.class_names), folder / "source.safetensors")
        return Making(backbone, folder, source, Compressing(pictures=32, recovery_from=2), runtime, {})

    monkeypatch.setattr(compress, "making", making)
    return lambda backbone, compression: compress.CompressCell("test", backbone, compression)


@pytest.mark.parametrize("compression", ["w8a8", "w8a8-mse"])
def test_the_cell_measures_integers_beside_floats_and_simulations(cell, compression):
    needs_exact_products()
    experiment = cell("tiny", compression)
    compressed = experiment.compress()
    upstream, measured = experiment.measure(compressed), experiment.measure_integers(compressed)
    for metric in ("accuracy", "ece_debiased"):
        assert list(measured[metric]) == ["dense", "integers", "emulated", "simulated"]
        assert measured[metric]["simulated"] == upstream["metrics"][metric]
        assert measured[metric]["emulated"] == measured[metric]["integers"]
    exact = {"same_predictions": 1.0, "largest_difference": 0.0, "mean_difference": 0.0}
    assert measured["agreement"]["emulated"] == exact
    for arm in ("dense", "simulated"):
        close = measured["agreement"][arm]
        assert 0 < close["mean_difference"] < close["largest_difference"] < 0.1
        assert close["same_predictions"] > 0.9
    assert measured["bytes"]["integers"] < 0.5 * measured["bytes"]["dense"]
    assert measured["batch"] == 128
    assert set(measured["latency_ms"]) == {"dense", "integers"}

    experiment.save(compressed, upstream, measured)
    facts = json.loads(results.path(experiment.cell).read_text())["facts"]
    assert facts["integer"] == measured
    assert facts["bits"] == 8


def test_only_latency_differs_from_run_to_run(cell):
    experiment = cell("tiny", "w8a8")
    one, two = (experiment.measure_integers(experiment.compress()) for _ in range(2))
    assert one | {"latency_ms": None} == two | {"latency_ms": None}


@pytest.mark.parametrize(
    ("backbone", "compression"), [("cnn", "w8a8"), ("tiny", "w4a8"), ("tiny", "int8"), ("tiny", "dense")]
)
def test_other_cells_measure_none(cell, backbone, compression):
    experiment = cell(backbone, compression)
    compressed = experiment.compress()
    assert experiment.measure_integers(compressed) is None
    experiment.save(compressed, experiment.measure(compressed), None)
    assert "integer" not in json.loads(results.path(experiment.cell).read_text())["facts"]


FACTS = {
    "accuracy": {"dense": 0.95, "integers": 0.949, "emulated": 0.949, "simulated": 0.9485},
    "ece_debiased": {"dense": 0.01, "integers": 0.011, "emulated": 0.011, "simulated": 0.012},
    "agreement": {
        arm: {"same_predictions": same, "largest_difference": 0.5, "mean_difference": 0.02}
        for arm, same in (("dense", 0.99), ("emulated", 1.0), ("simulated", 0.985))
    },
    "bytes": {"dense": 1_445_404, "integers": 574_108},
    "latency_ms": {"dense": 22.9, "integers": 41.8},
}


def test_the_table_has_a_row_for_each_network():
    dense, real, emulated, simulated = tables.integers(FACTS).to_dict("records")
    assert (dense["stored (kB)"], real["stored (kB)"], simulated["stored (kB)"]) == ("1,445", "574", "—")
    assert [row["predictions as the integers' (%)"] for row in (dense, real, emulated, simulated)] == [
        "99.00", "—", "100.00", "98.50",
    ]  # fmt: skip
