"""Cells of an untrained backbone, whose files go to a temporary folder."""

import pytest

from pipeline import scales
from vpstudy import paths
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.registry import parse
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """From a class of cells to one of a dense, untrained backbone with the parameters of smoke."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "PROBABILITIES", tmp_path / "probabilities")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")

    def obtain(*_) -> Compressed:
        backbone = Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1)
        return Compressed(parse("dense"), backbone, magnitude(backbone.prunable, 0.0))

    def make(kind: type):
        monkeypatch.setitem(kind.__init__.__globals__, "obtain", obtain)
        return kind(scales.parameters("smoke"), "cnn", "dense", "digits")

    return make
