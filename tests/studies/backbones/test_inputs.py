"""Cells whose inputs are not made yet: one message each, with the command that makes them."""

import pytest

from pipeline import scales
from studies import grid
from studies.across.cell import QuantizeCell
from studies.backbones import inputs
from studies.backbones.compress import CompressCell
from studies.backbones.imp import ImpCell
from studies.hidden_cost.cell import TransferCell
from studies.qprompt.clip_source_cell import ClipSourceCell
from studies.qprompt.every_class_cells import OtherPicturesCell
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from studies.vpns.cell import PruneCell
from vpstudy import paths

CELLS = {  # with the values of the axes, and the stage that makes what is missing
    TransferCell: (("imp-0.95", "digits"), "source"),
    QuantizeCell: (("int4", "digits"), "source"),
    CompressCell: (("imp-0.95",), "source"),
    ImpCell: ((False,), "source"),
    PruneCell: (("digits", "vpns"), "source"),
    ClipSourceCell: ((), "source"),
    PromptCell: (("digits", "qcoop"), "clip_source"),
    OtherPicturesCell: (("digits",), "clip_source"),
    MultimodalCell: (("digits",), "clip_source"),
}


@pytest.fixture
def parameters(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    return scales.parameters("default")


@pytest.mark.parametrize("kind", CELLS)
def test_before_anything_was_trained_a_cell_says_what_to_run(kind, parameters):
    values, stage = CELLS[kind]
    name = "lite0" if stage == "clip_source" else "cnn"
    with pytest.raises(
        FileNotFoundError, match=r"^nothing has been trained yet at scale default: run `make repro`"
    ) as e:
        kind(parameters, name, *values)
    assert f"`vpstudy repro {stage}@{name}`" in str(e.value)
    assert f"{stage}@{name}" in {cell.name for cell in grid.cells(parameters)}


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("source/1.safetensors", "source"),
        ("imp/1/round-0.95.safetensors", "imp"),
        ("clip/0.safetensors", "clip_source"),
    ],
)
def test_what_alone_is_missing_is_named_with_the_stage_that_makes_it(name, stage, parameters):
    backbone = "lite0" if stage == "clip_source" else "cnn"
    other = paths.MODELS / "default/vit/source/0.safetensors"
    other.parent.mkdir(parents=True)
    other.touch()
    message = f"^{backbone}/{name} is not made yet at scale default: run `vpstudy repro {stage}@{backbone}`$"
    with pytest.raises(FileNotFoundError, match=message):
        inputs.path(parameters, backbone, name)
    place = paths.MODELS / "default" / backbone / name
    place.parent.mkdir(parents=True)
    place.touch()
    assert inputs.path(parameters, backbone, name) == place


def test_what_no_stage_makes_is_no_matter_of_running(parameters):
    with pytest.raises(ValueError, match=r"backbones in pretrained of params.yaml alone \(cnn\): choose one of these"):
        inputs.path(parameters, "vit", "source/0.safetensors")
    with pytest.raises(ValueError, match=r"imp-0.85 is no round of imp.rounds; allowed: imp-0.80"):
        TransferCell(parameters, "cnn", "imp-0.85", "digits")


def test_weights_from_outside_come_from_their_own_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    parameters = scales.parameters("imagenet")
    backbone = parameters.outside[0]
    with pytest.raises(FileNotFoundError, match=f"`vpstudy repro weights@{backbone}`"):
        inputs.path(parameters, backbone, "source/0.safetensors")
