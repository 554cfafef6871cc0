"""The compress cell: what it measures of integers, and what it writes."""

import json

import pytest
import torch

from studies import results
from studies.backbones import integers
from studies.backbones.compress import CompressCell
from studies.backbones.obtain import obtain
from studies.parameters import load
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import Architecture, own
from vpstudy.models.backbones import Backbone

TINY = Architecture(
    "tiny",
    "timm/vit_tiny_patch16_224",
    {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2},
    batchnorm=False,
)


@pytest.fixture
def parameters(tmp_path, monkeypatch):
    """Of a scale of a few steps, with untrained source checkpoints of `cnn` and of a small transformer, `tiny`."""
    for name in ("MODELS", "RESULTS", "TIMINGS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    for architecture in (own("cnn"), TINY):
        place = paths.MODELS / "test" / architecture.name / "source.safetensors"
        backbones.save(Backbone(architecture, glyphs.class_names), place)
    p = load(paths.SCALES / "default" / "params.yaml")
    few = {"steps": 6, "batch": 4, "held_out": 100}
    compressing = p.compressing.model_copy(update={"pictures": 32, "recovery_from": 2})
    return p.model_copy(update={"scale": "test", "source": p.source.model_copy(update=few), "compressing": compressing})


@pytest.mark.parametrize("compression", ["w8a8", "w8a8-mse"])
def test_integers_are_measured_beside_floats_and_simulations(parameters, compression):
    ends = torch.full((32, 64), 127, dtype=torch.int8)
    if (torch._int_mm(ends, ends.T.contiguous()) != 64 * 127**2).any():
        pytest.skip("this CPU multiplies int8 with overflow")
    cell = CompressCell(parameters, "tiny", compression)
    compressed = cell.compress()
    upstream, measured = cell.measure(compressed), cell.measure_integers(compressed)
    for metric in ("accuracy", "ece_debiased"):
        assert list(measured[metric]) == ["dense", "integers", "emulated", "simulated"]
        assert measured[metric]["simulated"] == upstream["metrics"][metric]
        assert measured[metric]["emulated"] == measured[metric]["integers"]
    exact = {"same_predictions": 1.0, "largest_difference": 0.0, "mean_difference": 0.0}
    assert measured["agreement"]["emulated"] == exact
    for network in ("dense", "simulated"):
        close = measured["agreement"][network]
        assert 0 < close["mean_difference"] < close["largest_difference"] < 0.1
    assert measured["bytes"]["integers"] < 0.5 * measured["bytes"]["dense"]
    assert cell.measure_integers(compressed) == measured

    cell.save(compressed, upstream, measured)
    facts = json.loads(results.path(cell.cell).read_text())["facts"]
    assert facts["integer"] == measured and facts["bits"] == 8
    (timing,) = paths.TIMINGS.rglob("*.json")
    assert json.loads(timing.read_text())["latency_ms"].keys() == {"dense", "integers"}


@pytest.mark.parametrize(
    ("backbone", "compression"), [("cnn", "w8a8"), ("tiny", "w4a8"), ("tiny", "int8"), ("tiny", "dense")]
)
def test_other_cells_measure_no_integers(parameters, backbone, compression):
    cell = CompressCell(parameters, backbone, compression)
    compressed = cell.compress()
    assert cell.measure_integers(compressed) is None
    cell.save(compressed, cell.measure(compressed), None)
    assert "integer" not in json.loads(results.path(cell.cell).read_text())["facts"]
    assert not paths.TIMINGS.exists()
    assert torch.equal(obtain(parameters, backbone, compression).weights(), compressed.weights())


def test_one_that_is_not_stored_is_made_on_the_spot_and_nothing_is_written(parameters):
    before = sorted(paths.MODELS.rglob("*"))
    assert obtain(parameters, "cnn", "int3").bits == 3
    assert sorted(paths.MODELS.rglob("*")) == before


def test_the_table_of_integers_has_a_row_for_each_network():
    facts = {
        "accuracy": {"dense": 0.95, "integers": 0.949, "emulated": 0.949, "simulated": 0.9485},
        "ece_debiased": {"dense": 0.01, "integers": 0.011, "emulated": 0.011, "simulated": 0.012},
        "agreement": {
            network: {"same_predictions": same, "largest_difference": 0.5, "mean_difference": 0.02}
            for network, same in (("dense", 0.99), ("emulated", 1.0), ("simulated", 0.985))
        },
        "bytes": {"dense": 1_445_404, "integers": 574_108},
    }
    table = integers.table(facts)
    assert list(table.index) == ["dense", "integers", "emulated", "simulated"]
    assert table["bytes"].isna().to_list() == [False, False, True, True]
    assert table["same_predictions"].fillna(0).to_list() == [0.99, 0, 1, 0.985]
