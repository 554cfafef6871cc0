"""The compress cell: what it writes, and what others read of it."""

import json

import pytest
import torch

from studies import results
from studies.backbones.compress import CompressCell
from studies.backbones.obtain import obtain
from studies.parameters import load
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import own
from vpstudy.models.backbones import Backbone


@pytest.fixture
def parameters(tmp_path, monkeypatch):
    """Of a scale of a few steps, with an untrained source checkpoint of `cnn`."""
    for name in ("MODELS", "RESULTS", "TIMINGS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    backbones.save(Backbone(own("cnn"), glyphs.class_names), paths.MODELS / "test" / "cnn" / "source.safetensors")
    p = load(paths.SCALES / "default" / "params.yaml")
    few = {"steps": 6, "batch": 4, "held_out": 100}
    compressing = p.compressing.model_copy(update={"pictures": 32, "recovery_from": 2})
    return p.model_copy(update={"scale": "test", "source": p.source.model_copy(update=few), "compressing": compressing})


@pytest.mark.parametrize("compression", ["w4a8", "dense"])
def test_what_a_cell_writes_is_what_others_obtain(parameters, compression):
    cell = CompressCell(parameters, "cnn", compression)
    compressed = cell.compress()
    upstream = cell.measure(compressed)
    cell.save(compressed, upstream)
    content = json.loads(results.path(cell.cell).read_text())
    assert content["rows"] == [upstream]
    assert content["facts"] == json.loads(json.dumps(cell.facts(compressed)))
    assert torch.equal(obtain(parameters, "cnn", compression).weights(), compressed.weights())


def test_one_that_is_not_stored_is_made_on_the_spot_and_nothing_is_written(parameters):
    before = sorted(paths.MODELS.rglob("*"))
    assert obtain(parameters, "cnn", "int3").bits == 3
    assert sorted(paths.MODELS.rglob("*")) == before
