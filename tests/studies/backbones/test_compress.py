"""The compress cell: what it writes, and what others read of it."""

import dataclasses
import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from studies import checkpoints, results
from studies.backbones.compress import CompressCell
from studies.backbones.obtain import obtain
from studies.hidden_cost import tables
from studies.hidden_cost.report import _backbone as backbone_row
from studies.parameters import load
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.models.architectures import own
from vpstudy.models.backbones import Backbone
from vpstudy.models.weights import OutsideWeights


@pytest.fixture
def parameters(tmp_path, monkeypatch):
    """Of a scale of a few steps, with an untrained source checkpoint of `cnn`."""
    for name in ("MODELS", "RESULTS", "TIMINGS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    backbones.save(Backbone(own("cnn"), glyphs.class_names), paths.MODELS / "test" / "cnn" / "source/0.safetensors")
    p = load(paths.SCALES / "default" / "params.yaml")
    few = {"steps": 6, "batch": 4, "held_out": 100}
    compressing = p.compressing.model_copy(update={"pictures": 32, "recovery_from": 2})
    return p.model_copy(update={"scale": "test", "source": p.source.model_copy(update=few), "compressing": compressing})


@pytest.mark.parametrize("compression", ["w4a8", "dense"])
def test_what_a_cell_writes_is_what_others_obtain(parameters, compression):
    cell = CompressCell(parameters, "cnn", compression)
    compressed = cell.compress()
    upstream = cell.measure(compressed)
    checkpoints.save([cell], [compressed], [cell.result(compressed, upstream)], CompressCell.files)
    (content,) = json.loads(results.path(cell.cell).read_text())["checkpoints"]
    assert content["rows"] == [upstream]
    assert content["facts"] == json.loads(json.dumps(cell.facts(compressed)))
    assert torch.equal(obtain(parameters, "cnn", compression, 0).weights(), compressed.weights())


def test_agreement_with_dense_has_no_calibration(parameters):
    entry = {"model": "timm/resnet10t", "location": "net.safetensors", "sha256": "0" * 64}
    made = Backbone(dataclasses.replace(own("cnn"), name="other"), glyphs.class_names)
    backbones.save(made, paths.MODELS / "test" / "other" / "source/0.safetensors")
    with_other = parameters.model_copy(update={"weights": {"other": OutsideWeights.model_validate(entry)}})
    cell = CompressCell(with_other, "other", "dense")
    compressed = cell.compress()
    upstream = cell.measure(compressed)
    assert upstream["metrics"] == {"accuracy": 1.0} and upstream["reliability"] is None
    checkpoints.save([cell], [compressed], [cell.result(compressed, upstream)], CompressCell.files)
    read = results.read([cell.cell])
    assert read.frame["accuracy"].to_list() == [1.0]
    rows = pd.DataFrame([backbone_row(content) for content in read.contents])
    table = tables.backbones(SimpleNamespace(backbones=rows))
    assert table["upstream accuracy"].to_list() == ["1.000"] and table["upstream ECE (debiased)"].to_list() == ["—"]


def test_one_that_is_not_stored_is_made_on_the_spot_and_nothing_is_written(parameters):
    before = sorted(paths.MODELS.rglob("*"))
    assert obtain(parameters, "cnn", "int3", 0).bits == 3
    assert sorted(paths.MODELS.rglob("*")) == before
