"""Strict parameters: every problem in one error, with key, value and what is allowed."""

import copy
from typing import Any

import pytest
from ruamel.yaml import YAML

from studies import grid
from studies import parameters as study
from studies.parameters import STUDIES, read
from vpstudy import paths
from vpstudy.data.origin import Origin, origin_of
from vpstudy.settings import ParameterError

CONTENT = read(paths.SCALES / "default/params.yaml")


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The default scale with other values at dotted keys."""
    content = copy.deepcopy(CONTENT)
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = content
        for name in sections:
            place = place[name]
        place[key] = value
    return content


def problems(changes: dict[str, Any]) -> list[str]:
    """The lines of the error that the default scale gives with `changes`."""
    with pytest.raises(ParameterError) as error:
        study.validate(changed(changes), "params.yaml")
    head, *lines = str(error.value).splitlines()
    assert head == f"params.yaml: {len(lines)} problem{'s' * (len(lines) > 1)}, nothing was run"
    return [line.removeprefix("  - ") for line in lines]


def test_the_default_is_typed():
    parameters = study.validate(CONTENT, "params.yaml")
    assert parameters.hidden_cost.settings.budgets == [10, "all"]
    assert parameters.model_dump(exclude_unset=True) == CONTENT


PROBE, PROMPTS = "hidden_cost.settings.linear_probe", "hidden_cost.settings.visual_prompting.prompts"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scale", "My Scale", ["scale: 'My Scale'"]),
        ("execution.device", "gpu", ["execution.device: 'gpu'", "'cpu'", "'cuda'"]),
        ("execution.threads", True, ["execution.threads: True", "integer"]),
        ("pretrained", ["resnet"], ["pretrained.0: 'resnet'", "allowed: cnn", "vpstudy/models/architectures.py"]),
        ("source.checkpoints", 0, ["source.checkpoints: 0"]),
        ("backbones", [], ["across.axes.backbones: 'cnn' is not in backbones"]),
        ("few_shot.axes.backbones", ["cnn"], ["few_shot.axes.backbones: 'cnn' is not in qprompt.axes.backbones"]),
        ("compressions", ["int4"], ["compressions: 'dense' is missing"]),
        ("compressions", ["dense", "dense"], ["compressions", "only once"]),
        ("compressions", ["dense", "imp-1.5"], ["compressions.1: 'imp-1.5'", "[0.01, 0.99]", "imp-0.80"]),
        ("compressions", ["dense", "imp-0.9"], ["compressions.1: 'imp-0.9'", "write 0.90"]),
        ("compressions", ["dense", "dens"], ["compressions.1: 'dens'", "unknown", "dense_distilled, imp-0.80"]),
        ("compressions", ["dense", "imp-0.85"], ["'imp-0.85'", "imp.rounds", "allowed: imp-0.80, imp-0.95"]),
        ("compressions", ["dense", "file-x"], ["'file-x'", "checkpoints is empty"]),
        ("compressing.recovery_from", 900, ["compressing.recovery_from: 900", "below source.steps (900)"]),
        ("source", 3, ["source: 3"]),
        ("source.learning_rate", "fast", ["source.learning_rate: 'fast'", "number"]),
        ("source.stepz", 5, ["source.stepz: unknown key", "5", "did you mean steps?", "weight_decay"]),
        ("imp.rounds", [0.9, 0.8, 0.95], ["imp.rounds", "increase"]),
        ("imp.rounds", [0.5, 0.8, 0.9, 0.9555], ["imp.rounds", "0.9555", "or three where"]),
        ("imp.rewind_step", 900, ["imp.rewind_step: 900", "below source.steps (900)"]),
        ("hidden_cost.axes.targets", ["digitz"], ["hidden_cost.axes.targets.0: 'digitz'", "did you mean digits?"]),
        ("hidden_cost.settings.seeds", [-1], ["hidden_cost.settings.seeds.0: -1"]),
        ("hidden_cost.settings.budgets", ["most"], ["hidden_cost.settings.budgets.0: 'most'", "'all'"]),
        ("hidden_cost.settings.controls", ["padded"], ["controls.0: 'padded'", "did you mean padded_probe?"]),
        ("hidden_cost.settings.control_compressions", ["int3"], ["control_compressions: 'int3' is not in compres"]),
        (f"{PROBE}.evaluations", 301, ["linear_probe", "evaluations (301)", "steps (300)"]),
        (f"{PROMPTS}.border.inner", 32, ["visual_prompting", "inner", "32"]),
        (f"{PROMPTS}.patch.side", 33, ["visual_prompting", "side", "33"]),
        ("fetched", ["digits"], ["fetched.0: 'digits': an embedded target has this name"]),
        ("fetched", ["cifar"], ["fetched.0: 'cifar': no such target; did you mean cifar10?", "entry of pictures"]),
        ("pictures", {"My Signs": {"imagefolder": "x"}}, ["pictures.My Signs", "^[a-z0-9_]+$"]),
        ("pictures", {"digits": {"imagefolder": "x"}}, ["pictures.digits", "an embedded target has this name"]),
        ("pictures", {"a": "x"}, ["pictures.a: 'x'"]),
        ("pictures", {"a": {}}, ["pictures.a: give one of imagefolder and torchvision"]),
        ("pictures", {"a": {"imagefolder": "x", "torchvision": "DTD"}}, ["pictures.a", "only one"]),
        ("pictures", {"a": {"torchvision": "CIFAR11"}}, ["pictures.a.torchvision: 'CIFAR11'", "mean CIFAR10?"]),
        ("pictures", {"a": {"imagefolder": "x", "test_sare": 0.1}}, ["pictures.a.test_sare", "mean test_share?"]),
        ("pictures", {"a": {"imagefolder": "x", "test_share": 1.1}}, ["pictures.a.test_share: 1.1", "equal to 1"]),
        ("pictures", {"a": {"imagefolder": "x", "test_pictures": 0}}, ["pictures.a.test_pictures: 0", "equal to 1"]),
        ("pictures", {"a": {"imagefolder": "x", "sha256": "0" * 64}}, ["pictures.a", "checksum of a .zip"]),
        ("pictures", {"a": {"imagefolder": "x.zip", "sha256": "0"}}, ["pictures.a.sha256: '0'"]),
    ],
)
def test_each_problem_names_key_value_and_what_is_allowed(key, value, said):
    lines = problems({key: value})
    assert any(all(part in line for part in said) for line in lines), lines


def test_one_mistake_is_one_line():
    for key, value in (("hidden_cost.axes.targets", ["digitz"]), ("source.stepz", 5)):
        assert len(problems({key: value})) == 1
    assert len(problems({"compressions": ["dense", "imp-0.95", "imp-1.5"], "across.axes.compressions": ["dense"]})) == 1
    said = ["hidden_cost.settings.budgets.0: 0: should be greater than or equal to 1 or 'all'"]
    assert problems({"hidden_cost.settings.budgets": [0], "hidden_cost.settings.fine_tuning_budgets": [1]}) == said


def test_all_problems_are_listed_together():
    changes = {
        "source.stepz": 5,
        "pretrained": ["resnet"],
        "compressions": ["dense", "imp-1.5"],
        "hidden_cost.settings.budgets": [0],
        "vpns.axes.targets": ["digitz"],
    }
    lines = problems(changes)
    assert all(any(line.startswith(key) for line in lines) for key in changes), lines


def test_a_missing_key_and_a_missing_section_are_named():
    content = copy.deepcopy(CONTENT)
    del content["imp"]["rewind_step"], content["hidden_cost"]
    with pytest.raises(ParameterError, match=r"(?s)imp\.rewind_step: this key is missing.*hidden_cost: this key is"):
        study.validate(content, "params.yaml")


def without(*studies: str) -> dict[str, Any]:
    """Changes that leave `studies` out: their lists of backbones are empty, for hidden_cost that of the top level."""
    changes = {"backbones" if name == "hidden_cost" else f"{name}.axes.backbones": [] for name in studies}
    return changes | ({"clips": []} if "qprompt" in studies else {})


@pytest.mark.parametrize("only", ["hidden_cost", "vpns", "qprompt"])
def test_a_scale_may_hold_one_study_alone(only):
    parameters = study.validate(changed(without(*{"hidden_cost", *STUDIES} - {only})), "params.yaml")
    assert {cell.study for cell in grid.cells(parameters) if cell.axes} == {"backbones", only}
    stages = {cell.stage for cell in grid.cells(parameters) if not cell.axes}
    assert stages == {"hidden_cost", "vpns", "qprompt", "across", "claims"}  # each says that there is nothing


def test_a_study_that_is_left_out_is_not_checked_and_something_must_be_left():
    changes = without("across", "vpns") | {"vpns.axes.targets": ["gtsrb"]}  # which nothing fetches
    study.validate(changed(changes), "params.yaml")
    line = "vpns.axes.targets: 'gtsrb' is not embedded; put it into fetched, which prepares its pictures"
    assert problems(changes | {"vpns.axes.backbones": ["cnn"]}) == [line]
    assert "nothing is left to run" in problems(without("hidden_cost", *STUDIES))[0]
    lines = problems({"qprompt.axes.backbones": [], "clips": ["lite0"]})
    assert lines == [
        "clips: ['lite0']: nothing uses them, as qprompt.axes.backbones is empty; give [], or at least 1 there"
    ]


@pytest.mark.parametrize("name", ["hidden_cost", "vpns", "qprompt", "across", "few_shot"])
def test_the_papers_sets_and_a_reader_s_own_are_targets_of_every_study(name):
    own = {"pictures": {"my_signs": {"imagefolder": "signs"}}, "fetched": ["gtsrb", "my_signs"]}
    own |= {"few_shot.axes.backbones": ["lite0"]}
    parameters = study.validate(changed(own | {f"{name}.axes.targets": ["gtsrb", "my_signs"]}), "x")
    assert parameters.pictures["my_signs"].imagefolder == "signs"
    assert "'my_sings': no such target" in problems(own | {f"{name}.axes.targets": ["gtsrb", "my_sings"]})[0]
    assert "'cifar10' is not embedded; put it into fetched" in problems(own | {f"{name}.axes.targets": ["cifar10"]})[0]


def test_an_entry_of_pictures_takes_precedence_over_the_registry():
    assert origin_of("cifar10", {}).torchvision == "CIFAR10" and origin_of("imagenet", {}).train_per_class == 100
    own = Origin(imagefolder="c.zip", test_pictures=5)
    assert origin_of("cifar10", {"cifar10": own}) is own


@pytest.fixture
def file(tmp_path):
    return tmp_path / "params.yaml"


def test_missing_folders_are_listed_when_a_run_needs_them(file, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNS", str(tmp_path))
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "a.zip").write_text("")

    def load(fetched: list[str], **pictures: str) -> study.Parameters:
        entries = {alias: {"imagefolder": folder} for alias, folder in pictures.items()}
        with file.open("w") as opened:
            YAML(typ="safe").dump(changed({"pictures": entries, "fetched": fetched}), opened)
        return study.load(file, to_run=True)

    assert load(["a", "b"], a="$SIGNS/here", b="$SIGNS/a.zip", unused="no").fetched == ["a", "b"]
    with pytest.raises(ParameterError) as error:
        load(["a", "b", "c", "cars"], a="$SIGNS/gone", b="$NOT_SET/a", c="no.zip")
    lines = str(error.value).splitlines()
    assert "4 problems" in lines[0]
    assert "fetched: 'a': there is no folder $SIGNS/gone; expected in $SIGNS/gone: train/CLASS/*.jpg" in lines[1]
    assert "fetched: 'b': the variable $NOT_SET is not set" in lines[2]
    assert "fetched: 'c': there is no file no.zip" in lines[3]
    assert "fetched: 'cars': there is no folder data/raw/cars; the address that torchvision knows is dead" in lines[4]
    assert study.load(file).fetched == ["a", "b", "c", "cars"]  # results are read without pictures


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "params.yaml, line 1: not valid YAML"),
        ("a: 1\na: 2\n", "params.yaml, line 2: not valid YAML: found duplicate key"),
        ("- a\n", "must map keys to values"),
        ("", "must map keys to values"),
        (None, "vpstudy scale default"),
    ],
)
def test_a_file_that_holds_no_parameters_is_one_error(file, text, said):
    if text is not None:
        file.write_text(text)
    with pytest.raises(ParameterError, match=said):
        study.load(file)


def test_exponents_are_numbers(file):
    text = (paths.SCALES / "default/params.yaml").read_text()
    file.write_text(text.replace("learning_rate: 0.003", "learning_rate: 3e-3"))
    assert study.load(file).hidden_cost.settings.fine_tuning.learning_rates == [0.003, 0.01]
