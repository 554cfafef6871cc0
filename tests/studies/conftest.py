"""Cells of an untrained backbone, whose files go to a temporary folder."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline import scales
from vpstudy import paths
from vpstudy.compression.compressed import Compressed
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.registry import parse
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone


@pytest.fixture(scope="session")
def committed_results(tmp_path_factory) -> Path:
    """A copy of the results that git has: those on disk may be of other parameters, or half of a run."""
    folder, words = tmp_path_factory.mktemp("committed"), ["git", "archive", "HEAD", "data/results/default"]
    archive = subprocess.run(words, cwd=paths.ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder / "data/results"


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """From a class of cells to one of a dense, untrained backbone with the parameters of smoke; a folder a module."""
    folder = tmp_path_factory.mktemp("data")

    def obtain(*_) -> Compressed:
        backbone = Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1)
        return Compressed(parse("dense"), backbone, magnitude(backbone.prunable, 0.0))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODELS", "PROBABILITIES", "RESULTS"):
            patch.setattr(paths, name, folder / name.lower())

        def make(kind: type):
            patch.setitem(kind.__init__.__globals__, "obtain", obtain)
            return kind(scales.parameters("smoke"), "cnn", "dense", "digits")

        yield make
