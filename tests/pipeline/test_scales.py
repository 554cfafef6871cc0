"""Presets: what they compose to, and that nothing edited by hand is lost."""

import re
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from pipeline import scales
from pipeline.scales import compose, hand_edits, presets, put_in_place
from studies import parameters as study
from studies.parameters import read
from vpstudy import paths
from vpstudy.settings import ParameterError


@pytest.fixture
def params(tmp_path, monkeypatch) -> Path:
    """A folder with the presets of the project and the default `params.yaml`, to be written to."""
    folder = tmp_path / "scales"
    folder.mkdir()
    for preset in paths.SCALES.glob("*/params.yaml"):
        (folder / preset.parent.name).mkdir()
        (folder / preset.parent.name / preset.name).write_text(preset.read_text())
    monkeypatch.setattr(paths, "SCALES", folder)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    paths.PARAMS.write_text(compose("default"))
    return paths.PARAMS


def edit(params: Path, old: str, new: str) -> str:
    text = params.read_text()
    assert old in text
    params.write_text(text.replace(old, new))
    return params.read_text()


def test_the_default_scale_composes_to_itself():
    assert compose("default") == (paths.SCALES / "default/params.yaml").read_text()


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_and_keeps_the_comments(name, tmp_path):
    composed = tmp_path / "params.yaml"
    composed.write_text(compose(name))
    assert scales.parameters(name).scale == name
    assert load_yaml(composed)["scale"] == name  # DVC's own reader
    default = compose("default")
    comments = [re.findall("#.*", text)[1:] for text in (default, composed.read_text())]  # [0]: what the scale is for
    assert comments[0] == comments[1]
    assert not re.search(r"(?m)^[^#\n]*\S(   +| )# ", composed.read_text())  # two spaces before each


def test_a_preset_states_only_differences_and_says_why():
    default = scales.flat(read(paths.SCALES / "default/params.yaml"))
    for name in set(presets()) - {"default"}:
        changes = scales.flat(read(paths.SCALES / name / "params.yaml"))
        assert changes.items().isdisjoint(default.items())
        composed = scales.flat(scales._plain(compose(name)))
        assert composed == default | changes | {"scale": name}


@pytest.mark.parametrize(("name", "most"), [("smoke", 32), ("default", 90), ("extended", 90)])
def test_scales_stay_within_their_stages(name, most):
    from studies import grid

    cells = grid.cells(study.validate(scales._plain(compose(name)), name))
    assert len(cells) + 1 <= most  # and the one that lists the code


def test_there_and_back_gives_the_same_bytes(params):
    before = params.read_bytes()
    assert put_in_place("smoke") == ["params.yaml now holds scale smoke"]
    assert read(params)["scale"] == "smoke"
    assert put_in_place("smoke") == ["params.yaml holds scale smoke already"]
    put_in_place("default")
    assert params.read_bytes() == before


def test_a_scale_that_is_in_place_gets_its_lock_too(params, monkeypatch):
    settled = []
    monkeypatch.setattr(scales.locks, "settle", settled.append)
    put_in_place("smoke")
    put_in_place("smoke")
    assert settled == ["smoke", "smoke"]


def test_a_missing_file_is_put_in_place(params):
    params.unlink()
    put_in_place("smoke")
    assert read(params)["scale"] == "smoke"


def test_hand_edits_are_named_and_not_overwritten(params):
    edit(params, "steps: 900", "steps: 1300")
    edited = edit(params, "targets: [digits, letters]", "targets: [digits]")
    for name in ("smoke", "default"):
        with pytest.raises(ParameterError) as error:
            put_in_place(name)
        assert "source.steps: 1300 (in scale default: 900)" in str(error.value)
        assert "hidden_cost.axes.targets: [digits] (in scale default: [digits, letters])" in str(error.value)
        assert "--force" in str(error.value)
        assert params.read_text() == edited


def test_removed_and_added_keys_are_edits(params):
    edit(params, "  rewind_step: 100", "  rewind_stp: 100")
    assert [line.split(" (")[0] for line in hand_edits()] == [
        "imp.rewind_step: missing",
        "imp.rewind_stp: 100",
    ]


def test_comments_are_no_edits_but_stay_where_nothing_changes(params):
    text = edit(params, "# pictures per step\n", "# my note\n")
    assert hand_edits() == []
    put_in_place("default")
    assert params.read_text() == text


def test_force_keeps_each_edited_file(params):
    first = edit(params, "\n  threads: 1", "\n  threads: 4")
    assert put_in_place("smoke", force=True)[0].endswith("kept as params.edited.yaml")
    assert (params.with_name("params.edited.yaml")).read_text() == first
    second = edit(params, "\n  threads: 1", "\n  threads: 8")
    put_in_place("default", force=True)
    assert params.with_name("params.edited-2.yaml").read_text() == second
    assert params.with_name("params.edited.yaml").read_text() == first
    assert put_in_place("default", force=True) == ["params.yaml holds scale default already"]


@pytest.mark.parametrize("content", ["a: [", "just words", "scale: mine\n", "scale: [1]\n"])
def test_what_cannot_be_compared_counts_as_an_edit(params, content):
    params.write_text(content)
    with pytest.raises(ParameterError, match="edited by hand"):
        put_in_place("default")
    assert params.read_text() == content
    put_in_place("default", force=True)
    assert params.with_name("params.edited.yaml").read_text() == content


def test_wrong_keys_and_values_of_a_preset_are_strict_errors(params):
    (paths.SCALES / "mine").mkdir()
    (paths.SCALES / "mine" / "params.yaml").write_text("# mine\nsource: {stepz: 3}\nimp: {rewind_step: 0}\n")
    with pytest.raises(ParameterError) as error:
        put_in_place("mine")
    assert "scales/mine/params.yaml: 2 problems" in str(error.value)
    assert "source.stepz" in str(error.value)
    assert "did you mean steps?" in str(error.value)
    assert read(params)["scale"] == "default"


def test_an_unknown_scale_names_the_presets(params):
    with pytest.raises(ParameterError, match=r"'\.\./default'.*allowed: default, .*smoke"):
        put_in_place("../default")
