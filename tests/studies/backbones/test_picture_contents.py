"""What `check` tells of pictures before anything runs: every problem at once, with the numbers needed."""

import copy
import shutil

import numpy as np
import pytest
import torch
from pictures import folder, picture

from pipeline import commands, stages
from pipeline.cli import main
from studies import parameters
from studies.backbones import picture_contents
from studies.parameters import read
from vpstudy import paths
from vpstudy.data import fetched, splits
from vpstudy.data.registry import EMBEDDED
from vpstudy.data.target import load
from vpstudy.settings import ParameterError

CONTENT = read(paths.SCALES / "default/params.yaml")


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name in ("PICTURES", "SPLITS", "TARGETS", "RAW"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    return folder(tmp_path / "pens", {"blue_pen": 60, "red_pen": 70})


def changed(root, changes=(), **keys):
    content = copy.deepcopy(CONTENT)
    content |= {"pictures": {"pens": {"imagefolder": str(root)} | keys}, "fetched": ["pens"]}
    content["hidden_cost"]["axes"]["targets"] = ["pens"]
    for dotted, value in dict(changes).items():
        *sections, key = dotted.split(".")
        place = content
        for name in sections:
            place = place[name]
        place[key] = value
    return parameters.validate(content, "x")


def problems(p) -> list[str]:
    with pytest.raises(ParameterError) as error:
        picture_contents.check(p, "params.yaml")
    head, *lines = str(error.value).splitlines()
    assert head == f"params.yaml: {len(lines)} problem{'s' * (len(lines) > 1)}, nothing was run"
    return [line.removeprefix("  - ") for line in lines]


def test_sound_pictures_pass_also_where_nothing_can_be_written(root, monkeypatch):
    assert picture_contents.check(changed(root), "x") == []
    (root / "red_pen" / "00.png").unlink()
    monkeypatch.setattr(picture_contents.atomic, "write_text", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    assert picture_contents.check(changed(root), "x") == []


def test_what_is_left_out_is_told(root):
    (root / "red_pen" / "1.gif").write_text("x")
    (root / "red_pen" / "nowhere.png").symlink_to("/nowhere.png")
    assert picture_contents.check(changed(root), "x") == ["target pens: left out are 1 .gif, 1 links that lead nowhere"]


def test_a_budget_beyond_the_pool_is_told_with_the_numbers(root):
    p = changed(root, {"hidden_cost.settings.budgets": [10, 30, "all"]})
    assert problems(p) == [
        "hidden_cost.settings.budgets: 30: with hidden_cost.settings.validation_per_class (20) it takes 50 pictures of"
        " a class outside the test set, and of pens 'blue_pen' has 48 and 12 in the test set; lower one of the two, or"
        " add pictures"
    ]
    at_most = changed(root, {"hidden_cost.settings.budgets": [28, "all"]})
    assert picture_contents.check(at_most, "x") == []
    held_out = problems(changed(root, {"hidden_cost.settings.validation_per_class": 48}))
    assert "budgets: 10: with hidden_cost.settings.validation_per_class (48) it takes 58 pictures" in held_out[0]
    assert "fine_tuning_budgets: all: with hidden_cost.settings.validation_per_class (48) it takes 49" in held_out[1]


@pytest.mark.parametrize("alias", EMBEDDED)
def test_the_pools_of_embedded_targets_are_known(root, alias):
    """The largest number that every class has is allowed, and one more is refused."""
    target = load(alias, 8)
    pool = np.delete(target.labels.numpy(), target.test)
    most = int(np.bincount(pool).min()) - 20
    common = {"vpns.axes.targets": [alias], "vpns.settings.validation_per_class": 20}
    assert picture_contents.check(changed(root, common | {"vpns.settings.budget": most}), "x") == []
    (line,) = problems(changed(root, common | {"vpns.settings.budget": most + 1}))
    assert line.startswith(f"vpns.settings.budget: {most + 1}: with vpns.settings.validation_per_class (20) it takes")


def test_every_study_that_runs_is_checked_and_one_that_does_not_is_not(root):
    changes = {f"{name}.axes.targets": ["pens"] for name in ("vpns", "qprompt", "few_shot", "across")}
    changes |= {"vpns.settings.budget": 40, "across.settings.budget": 41, "qprompt.settings.shots": 42}
    changes |= {"few_shot.settings.shots": [43], "few_shot.settings.epochs": [1]}
    alone = {"qprompt.settings.shots": 42, "qprompt.axes.backbones": ["lite0"], "qprompt.axes.targets": ["digits"]}
    alone |= {"other_pictures.axes.backbones": ["lite0"], "other_pictures.axes.targets": ["pens"]}
    assert [line.split(": with")[0] for line in problems(changed(root, alone))] == ["qprompt.settings.shots: 42"]
    lines = problems(changed(root, changes | {"few_shot.axes.backbones": ["lite0"]}))
    assert [line.split(": with")[0] for line in lines] == [
        "across.settings.budget: 41",
        "vpns.settings.budget: 40",
        "qprompt.settings.shots: 42",
        "few_shot.settings.shots: 43",
    ]
    without = changes | {"vpns.axes.backbones": [], "across.axes.backbones": []}
    assert [line.split(": with")[0] for line in problems(changed(root, without))] == ["qprompt.settings.shots: 42"]


def test_all_unreadable_pictures_and_every_other_problem_are_told_at_once(root, tmp_path, monkeypatch):
    bad = ["blue_pen/07.png", "red_pen/03.png", "red_pen/69.png"]
    for name in bad:
        (root / name).write_bytes((root / name).read_bytes()[:-100])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changes = {"hidden_cost.settings.budgets": [30], "execution.device": "cuda"}
    device, pictures, budget = problems(changed(root, changes))
    assert device.startswith("execution.device: 'cuda': torch sees no CUDA device")
    assert all(name in pictures for name in bad) and pictures.count(".png (") == 3
    assert budget.startswith("hidden_cost.settings.budgets: 30")
    assert len(problems(changed(root))) == 1
    elsewhere = changed(folder(tmp_path / "good", {"a": 60, "b": 60}), {"execution.device": "cuda"})
    assert picture_contents.check(elsewhere, "x", this_machine=False) == []


def test_pixels_are_read_once_and_the_split_file_to_delete_is_named(root, monkeypatch):
    p = changed(root)
    ready = fetched.prepare("pens", p.pictures["pens"])
    path = splits.path_of("pens")
    splits.write(path, splits.content(ready.originals(), ready.partition, p.pictures["pens"], ready.class_names))
    assert picture_contents.check(p, "x") == []
    with monkeypatch.context() as context:
        context.setattr(picture_contents.decoding, "look", lambda *_: pytest.fail("read the pixels again"))
        assert picture_contents.check(p, "x") == []
    picture("new", (8, 8)).save(root / "red_pen" / "70.png")
    (line,) = problems(p)
    assert "class 'red_pen' has 71 pictures, and had 70" in line and f"delete {path}" in line


def test_of_pictures_that_are_not_here_the_split_file_counts(root):
    p = changed(root)
    ready = fetched.prepare("pens", p.pictures["pens"])
    content = splits.content(ready.originals(), ready.partition, p.pictures["pens"], ready.class_names)
    splits.write(splits.path_of("pens"), content)
    gone = changed(root / "gone", {"hidden_cost.settings.budgets": [30]})
    assert problems(gone)[0].startswith("hidden_cost.settings.budgets: 30: ")
    splits.path_of("pens").unlink()
    assert picture_contents.check(gone, "x") == []


def test_of_a_large_target_some_are_looked_at(root, monkeypatch):
    monkeypatch.setattr(picture_contents, "LOOKED_AT", 50)
    assert picture_contents.check(changed(root), "x") == ["target pens: 50 of 130 pictures were looked at"]


def test_a_wrong_checksum_and_classes_that_texts_cannot_tell_apart_are_told(root, tmp_path):
    other = folder(tmp_path / "f", {"AnnualCrop": 60, "annual_crop": 60})
    names = changed(other, {"qprompt.axes.targets": ["pens"]})
    assert problems(names)[0].startswith("classes 'AnnualCrop' and 'annual_crop' are the same tokens")
    zipped = shutil.make_archive(str(tmp_path / "pens"), "zip", root)
    assert "its SHA-256 is" in problems(changed(zipped, sha256="0" * 64))[0]


def test_the_commands_tell_it_before_they_start(root, monkeypatch, capsys):
    monkeypatch.setattr(stages, "Stages", lambda *_, **__: pytest.fail("started"))
    p = changed(root, {"hidden_cost.settings.budgets": [30]})
    monkeypatch.setattr(commands.study, "load", lambda *_, **__: p)
    monkeypatch.setattr(commands.alone, "check", lambda *_, **__: True)
    for words in (["check"], ["plan"]):
        assert main(words) == 2
        assert "hidden_cost.settings.budgets: 30: with" in capsys.readouterr().err
