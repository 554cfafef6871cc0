"""Where pictures come from: what the parameters may say, and what is told before anything runs."""

import copy

import pytest

from studies import parameters as study
from vpstudy import paths
from vpstudy.data.origin import Origin, origin_of
from vpstudy.settings import ParameterError, read

CONTENT = read(paths.SCALES / "default/params.yaml")


def content(pictures=None, fetched=(), **targets) -> dict:
    """The default with these; `vpns=["cifar10"]` sets the targets of a study."""
    changed = copy.deepcopy(CONTENT) | {"pictures": pictures or {}, "fetched": list(fetched)}
    for name, names in targets.items():
        changed[name]["axes"]["targets"] = names
    return changed


def said(*arguments, **keys) -> str:
    with pytest.raises(ParameterError) as error:
        study.validate(content(*arguments, **keys), "params.yaml")
    assert "1 problem," in str(error.value), error.value
    return str(error.value).splitlines()[1]


STUDIES = ("hidden_cost", "vpns", "qprompt", "across", "protocols")  # that the default scale runs


@pytest.mark.parametrize("name", STUDIES)
def test_the_papers_sets_and_a_reader_s_own_are_targets_of_every_study(name):
    own = {"my_signs": {"imagefolder": "signs"}}
    parameters = study.validate(content(own, ["gtsrb", "my_signs"], **{name: ["gtsrb", "my_signs"]}), "x")
    assert getattr(parameters, name).axes.targets == ["gtsrb", "my_signs"]
    assert parameters.pictures["my_signs"].imagefolder == "signs"
    assert "my_sings" in said(own, ["gtsrb", "my_signs"], **{name: ["gtsrb", "my_sings"]})


@pytest.mark.parametrize("name", STUDIES)
def test_a_target_that_no_stage_fetches_is_told(name):
    line = said({}, [], **{name: ["cifar10"]})
    assert f"{name}.axes.targets: 'cifar10' is not embedded; put it into fetched" in line


@pytest.mark.parametrize(
    ("pictures", "parts"),
    [
        (
            {"a": {"torchvision": "CIFAR11"}},
            ["pictures.a.torchvision", "'CIFAR11'", "did you mean CIFAR10?", "EuroSAT"],
        ),
        ({"a": {"torchvision": "CIFAR10", "imagefolder": "x"}}, ["pictures.a", "one of imagefolder and torchvision"]),
        ({"a": {}}, ["pictures.a", "give one of imagefolder and torchvision"]),
        ({"a": {"imagefolder": "x", "test_sare": 0.1}}, ["pictures.a.test_sare", "did you mean test_share?"]),
        ({"a": {"imagefolder": "x", "test_share": 1.0}}, ["pictures.a.test_share", "1.0", "less than 1"]),
        ({"a": {"imagefolder": "x", "test_pictures": 0}}, ["pictures.a.test_pictures", "greater than or equal to 1"]),
        ({"a": {"imagefolder": "x", "sha256": "0" * 64}}, ["pictures.a", "checksum of a .zip"]),
        ({"a": {"imagefolder": "x.zip", "sha256": "0"}}, ["pictures.a.sha256", "'0'"]),
        ({"My Signs": {"imagefolder": "x"}}, ["pictures.My Signs", "^[a-z0-9_]+$"]),
        ({"digits": {"imagefolder": "x"}}, ["pictures.digits", "embedded target has this name"]),
        ({"a": "x"}, ["pictures.a", "'x'"]),
    ],
)
def test_each_wrong_entry_is_named(pictures, parts):
    line = said(pictures)
    assert all(part in line for part in parts), line


def test_what_is_embedded_is_not_fetched_and_what_nobody_knows_neither():
    assert "embedded target has this name" in said({}, ["digits"])
    line = said({}, ["cifar"])
    assert "fetched.0: 'cifar': no such target; did you mean cifar10?" in line and "or an entry of pictures" in line


def test_an_entry_goes_before_the_registry():
    assert origin_of("cifar10", {}).torchvision == "CIFAR10" and origin_of("imagenet", {}).train_per_class == 100
    own = Origin(imagefolder="c.zip", test_pictures=5)
    assert origin_of("cifar10", {"cifar10": own}) is own


@pytest.fixture
def params(tmp_path):
    """Writes parameters to a file."""
    from ruamel.yaml import YAML

    def write(*arguments, **keys):
        with (tmp_path / "params.yaml").open("w") as file:
            YAML(typ="safe").dump(content(*arguments, **keys), file)
        return tmp_path / "params.yaml"

    return write


def test_folders_that_are_not_there_are_told_when_a_run_needs_them(params, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNS", str(tmp_path))
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "a.zip").write_text("")
    good = {"a": {"imagefolder": "$SIGNS/here"}, "b": {"imagefolder": "$SIGNS/a.zip"}, "unused": {"imagefolder": "no"}}
    assert study.load(params(good, ["a", "b"], vpns=["a", "b"])).fetched == ["a", "b"]
    bad = {"a": {"imagefolder": "$SIGNS/gone"}, "b": {"imagefolder": "$NOT_SET/a"}, "c": {"imagefolder": "no.zip"}}
    with pytest.raises(ParameterError) as error:
        study.load(params(bad, ["a", "b", "c", "cars"]))
    lines = str(error.value).splitlines()
    assert "4 problems" in lines[0]
    assert "fetched: 'a': there is no folder $SIGNS/gone; expected in $SIGNS/gone: train/CLASS/*.jpg" in lines[1]
    assert "fetched: 'b': the variable $NOT_SET is not set" in lines[2]
    assert "fetched: 'c': there is no file no.zip" in lines[3]
    assert "fetched: 'cars': there is no folder data/raw/cars; the address that torchvision knows is dead" in lines[4]
    study.validate(content(bad, ["a"]), "a scale that is put in place")  # where nothing is about to run
