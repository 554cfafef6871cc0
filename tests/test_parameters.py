"""Strict parameters: everything wrong is told at once, with key, value and what is allowed."""

import copy

import pytest

from studies import grid
from studies import parameters as study
from studies.parameters import STUDIES
from vpstudy import paths
from vpstudy.settings import ParameterError, read

CONTENT = read(paths.SCALES / "default/params.yaml")


def problems(**changes) -> list[str]:
    """The lines of the error that the default has once `changes` are made; dots are written as `__`."""
    content = copy.deepcopy(CONTENT)
    for dotted, value in changes.items():
        *sections, key = dotted.split("__")
        section = content
        for name in sections:
            section = section[name]
        section[key] = value
    with pytest.raises(ParameterError) as error:
        study.validate(content, "params.yaml")
    head, *lines = str(error.value).splitlines()
    assert head == f"params.yaml: {len(lines)} problem{'s' * (len(lines) > 1)}, nothing was run"
    return [line.removeprefix("  - ") for line in lines]


def test_the_default_is_typed():
    parameters = study.validate(CONTENT, "params.yaml")
    assert parameters.hidden_cost.settings.budgets == [10, "all"]
    assert parameters.model_dump() == CONTENT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pretrained": ["resnet"]}, ["pretrained.0", "'resnet'", "allowed: cnn", "vpstudy/models/architectures.py"]),
        ({"backbones": []}, ["across.axes.backbones: 'cnn' is not in backbones"]),
        (
            {f"{study}__axes__backbones": [] for study in STUDIES} | {"backbones": [], "clips": []},
            ["backbones: []: nothing is left to run; give at least 1, or in one of vpns.axes.backbones"],
        ),
        (
            {"qprompt__axes__backbones": [], "protocols__axes__backbones": []},
            ["clips: ['cnn']: nothing uses them, as qprompt.axes.backbones is empty"],
        ),
        ({"qprompt__axes__backbones": []}, ["protocols.axes.backbones: 'cnn' is not in qprompt.axes.backbones"]),
        ({"compressions": ["dense", "imp-1.5"]}, ["compressions.1", "'imp-1.5'", "[0.01, 0.99]", "imp-0.80"]),
        ({"compressions": ["dense", "imp-0.9"]}, ["compressions.1", "'imp-0.9'", "write 0.90"]),
        ({"compressions": ["dense", "int1"]}, ["compressions.1", "'int1'", "2 to 8"]),
        (
            {"compressions": ["dense", "dens"]},
            ["compressions.1", "'dens'", "unknown", "dense_distilled, imp-0.80"],
        ),
        (
            {"compressions": ["dense", "imp-0.85"]},
            ["'imp-0.85'", "imp.rounds", "allowed: imp-0.80, imp-0.90"],
        ),
        ({"compressions": ["int4"]}, ["compressions", "'dense' is missing"]),
        ({"compressions": ["dense", "dense"]}, ["compressions", "only once"]),
        (
            {"hidden_cost__axes__targets": ["digitz"]},
            ["hidden_cost.axes.targets.0", "'digitz'", "mean digits?"],
        ),
        (
            {"hidden_cost__settings__budgets": [0]},
            ["settings.budgets.0", "0", "greater than or equal to 1"],
        ),
        ({"hidden_cost__settings__budgets": ["most"]}, ["hidden_cost.settings.budgets.0", "'most'", "'all'"]),
        ({"hidden_cost__settings__seeds": [-1]}, ["hidden_cost.settings.seeds.0", "-1"]),
        ({"hidden_cost__settings__visual_prompting__prompts__border__inner": 32}, ["visual_prompting", "inner", "32"]),
        (
            {"hidden_cost__settings__linear_probe__evaluations": 301},
            ["linear_probe", "evaluations (301)", "steps (300)"],
        ),
        ({"execution__device": "gpu"}, ["execution.device", "'gpu'", "'cpu'", "'cuda'"]),
        ({"execution__threads": True}, ["execution.threads", "True", "integer"]),
        ({"source__learning_rate": "fast"}, ["source.learning_rate", "'fast'", "number"]),
        ({"source__stepz": 5}, ["source.stepz", "5", "did you mean steps?", "weight_decay"]),
        ({"source": 3}, ["source", "3"]),
        ({"imp__rounds": [0.9, 0.8, 0.95]}, ["imp.rounds", "increase"]),
        ({"imp__rounds": [0.5, 0.8, 0.9, 0.9555]}, ["imp.rounds", "0.9555", "or three where"]),
        ({"imp__rewind_step": 900}, ["imp.rewind_step", "900", "below source.steps (900)"]),
        ({"compressions": ["dense", "file-x"]}, ["'file-x'", "checkpoints is empty"]),
        (
            {"hidden_cost__settings__control_compressions": ["int3"]},
            ["control_compressions: 'int3' is not in compressions"],
        ),
        ({"hidden_cost__settings__controls": ["padded"]}, ["controls.0", "did you mean padded_probe?"]),
        ({"hidden_cost__settings__visual_prompting__prompts__patch__side": 33}, ["visual_prompting", "side", "33"]),
        ({"compressing__recovery_from": 900}, ["compressing.recovery_from", "900", "below source.steps (900)"]),
        ({"pretrained": ["cnn-r0"]}, ["pretrained.0", "'cnn-r0'", "cnn-r1"]),
        ({"scale": "My Scale"}, ["scale", "'My Scale'"]),
    ],
)
def test_each_problem_names_key_value_and_what_is_allowed(changes, said):
    lines = problems(**changes)
    assert any(all(part in line for part in said) for line in lines), lines


def left_out(*studies: str) -> dict:
    """The default without `studies`, whose lists of backbones are empty; "hidden_cost" is the top level's."""
    content = copy.deepcopy(CONTENT)
    for name in studies:
        (content if name == "hidden_cost" else content[name]["axes"])["backbones"] = []
    if "qprompt" in studies:
        content["clips"] = []
    return content


@pytest.mark.parametrize("only", ["hidden_cost", "vpns", "qprompt"])
def test_a_scale_may_hold_one_study_alone(only):
    others = {"hidden_cost", *STUDIES} - {only}
    parameters = study.validate(left_out(*others), "params.yaml")
    studies = {cell.study for cell in grid.cells(parameters) if cell.axes}
    assert studies == {"backbones", only}
    stages = {cell.stage for cell in grid.cells(parameters) if not cell.axes}
    assert stages == {"hidden_cost", "vpns", "qprompt", "across", "claims"}  # each says that there is nothing


def test_across_alone_needs_what_it_quantizes_prompts_on():
    content = left_out("vpns", "qprompt", "protocols", "multimodal")
    assert study.validate(content, "params.yaml").across.axes.backbones == ["cnn"]
    content["backbones"] = []
    with pytest.raises(ParameterError, match=r"across\.axes\.backbones: 'cnn' is not in backbones"):
        study.validate(content, "params.yaml")


def test_what_is_left_out_asks_for_nothing():
    content = left_out("across", "vpns")
    content["compressions"], content["hidden_cost"]["settings"]["control_compressions"] = ["dense", "int4"], ["dense"]
    content["vpns"]["axes"]["targets"] = ["gtsrb"]  # which nothing fetches
    study.validate(content, "params.yaml")
    content["vpns"]["axes"]["backbones"] = ["cnn"]
    with pytest.raises(ParameterError, match=r"vpns\.axes\.targets: 'gtsrb' is not embedded"):
        study.validate(content, "params.yaml")


def test_one_mistake_is_one_line():
    assert len(problems(hidden_cost__axes__targets=["digitz"])) == 1
    assert len(problems(compressions=["dense", "imp-0.95", "imp-1.5"], across__axes__compressions=["dense"])) == 1
    assert len(problems(source__stepz=5)) == 1
    said = ["hidden_cost.settings.budgets.0: 0: should be greater than or equal to 1 or 'all'"]
    assert problems(hidden_cost__settings__budgets=[0], hidden_cost__settings__fine_tuning_budgets=[1]) == said


def test_all_problems_are_told_together():
    lines = problems(
        source__stepz=5,
        pretrained=["resnet"],
        compressions=["dense", "imp-1.5"],
        hidden_cost__settings__budgets=[0],
        vpns__axes__targets=["digitz"],
    )
    keys = ("source.stepz", "pretrained.0", "compressions.1", "hidden_cost.settings.budgets.0", "targets.0")
    assert all(any(key in line for line in lines) for key in keys), lines


def test_a_missing_key_and_a_missing_section_are_named():
    content = copy.deepcopy(CONTENT)
    del content["imp"]["rewind_step"], content["hidden_cost"]
    with pytest.raises(ParameterError) as error:
        study.validate(content, "params.yaml")
    assert "imp.rewind_step: this key is missing" in str(error.value)
    assert "hidden_cost: this key is missing" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "params.yaml, line 1: not valid YAML"),
        ("a: 1\na: 2\n", "params.yaml, line 2: not valid YAML: found duplicate key"),
        ("- a\n", "must map keys to values"),
        ("", "must map keys to values"),
    ],
)
def test_a_file_that_is_no_parameters_is_one_error(tmp_path, text, said):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        study.load(path)
    assert said in str(error.value)


def test_a_missing_file_says_how_to_get_it_back(tmp_path):
    with pytest.raises(ParameterError, match="vpstudy scale default"):
        study.load(tmp_path / "params.yaml")


def test_exponents_are_numbers(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(
        (paths.SCALES / "default/params.yaml").read_text().replace("learning_rate: 0.003", "learning_rate: 3e-3")
    )
    assert study.load(path).hidden_cost.settings.fine_tuning.learning_rates == [0.003, 0.01]
