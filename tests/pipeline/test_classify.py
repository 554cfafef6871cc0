"""Classifying a folder with a learned prompt: bad input is one error that says what was given and what to do."""

import hashlib
import re
from types import SimpleNamespace

import pytest
import torch
from encoders import encoder
from PIL import Image

from pipeline.cli import main
from vpstudy.models import backbones, sentence_tower
from vpstudy.models import clip as clips
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts import stored
from vpstudy.prompts.stored import Stored
from vpstudy.prompts.text import first_context
from vpstudy.training.prompt_learning.classify import Classifier

TOWERS = {"size": 32, "width": 32, "heads": 2, "layers": 1, "embed": 16}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of an untrained model and of prompts, and a folder of three pictures."""
    folder = tmp_path_factory.mktemp("made")
    clip, architecture = clips.small_clip(ARCHITECTURES["cnn"], seed=0, **TOWERS), ARCHITECTURES["cnn"]
    clips.save(clip, architecture, folder / "clip/0.safetensors", TOWERS)
    context = first_context(sentence_tower.of(clip), "a photo of a", seed=0)
    stored.write(folder / "prompt", {"full/0": Stored(context), "qat-1/0": Stored(context + 1)})
    stored.write(folder / "wide", {"full/0": Stored(torch.zeros(4, 48))})
    stored.write(folder / "none", {})
    for name, size in (("b.png", (40, 30)), ("a.jpg", (8, 8)), ("in/c.png", (64, 64))):
        (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "red").save(folder / "pictures" / name)
    (folder / "damaged").mkdir()
    (folder / "damaged/d.png").write_bytes(b"no picture")
    (folder / "empty").mkdir()
    (folder / "empty/notes.txt").write_text("no picture")
    return SimpleNamespace(folder=folder, model=folder / "clip/0.safetensors", prompt=folder / "prompt")


def test_each_picture_has_an_answer_and_probabilities_sum_to_one(made):
    classifier = Classifier(made.model, made.prompt, ["cat", " dog ", "tabby cat"])
    answers = classifier.folder(made.folder / "pictures")
    assert classifier.arm == "full/0" and [each.picture for each in answers] == ["a.jpg", "b.png", "in/c.png"]
    assert {each.class_name for each in answers} <= {"cat", "dog", "tabby cat"}
    found = classifier.probabilities(torch.zeros(2, 3, classifier.size, classifier.size, dtype=torch.uint8))
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    assert Classifier(made.model, made.prompt, ["cat", "dog"], "qat-1/0").arm == "qat-1/0"


def test_a_model_with_a_sentence_encoder_is_used_too(made, tmp_path):
    file, backbone = encoder(tmp_path / "encoder") / "model.safetensors", Backbone(ARCHITECTURES["cnn"], ["one", "two"])
    backbones.save(backbone, tmp_path / "source/0.safetensors")
    known = {"location": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    clip = clips.locked(backbone, file, 32, seed=0)
    clips.save(clip, backbone.architecture, tmp_path / "clip/0.safetensors", {"size": 32, "encoder": known})
    stored.write(tmp_path / "prompt", {"full/0": Stored(torch.zeros(4, 16))})
    answers = Classifier(tmp_path / "clip/0.safetensors", tmp_path / "prompt", ["cat", "dog"]).folder(
        made.folder / "pictures"
    )
    assert len(answers) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": "cat"}, "classes: cat: give at least two names"),
        ({"classes": "cat,,dog"}, "classes: cat, , dog: give at least two names, none of them empty"),
        ({"classes": "cat,Cat"}, "classes 'cat' and 'Cat' are the same tokens in a text; give them other names"),
        ({"arm": "full/1"}, "arm 'full/1' is not in .*prompt; allowed: full/0, qat-1/0"),
        ({"prompt": "wide"}, "wide: its vectors are 48 wide, and the words of .* 32: it was learned for another model"),
        ({"prompt": "none"}, "none: its prompter learns no prompt; give the file of another"),
        ({"prompt": "clip/0.safetensors"}, "this file holds no prompts; give one that the stage prompt writes"),
        ({"prompt": "nowhere"}, "nowhere: there is no such file of prompts; give one"),
        ({"model": "prompt"}, "prompt: no two-tower model of this study; give one that the stage clip_source writes"),
        ({"model": "empty/notes.txt"}, "notes.txt: no two-tower model of this study; give one"),
        ({"model": "clip/1.safetensors"}, "there is no clip/1.safetensors yet: `dvc repro` makes it"),
        ({"folder": "empty"}, r"empty: it has no pictures \(left out: 1 .txt\); give a folder or a .zip of"),
        ({"folder": "damaged"}, "damaged: d.png is damaged, or no picture .*; replace or remove it"),
        ({"folder": "gone"}, "gone: there is no such folder; give a folder or a .zip of pictures"),
    ],
)
def test_bad_input_is_one_error(made, capsys, changes, said):
    given = {"folder": "pictures", "model": "clip/0.safetensors", "prompt": "prompt"} | changes
    place = {name: str(made.folder / given[name]) for name in ("folder", "model", "prompt")}
    words = ["--model", place["model"], "--prompt", place["prompt"], "--classes", given.get("classes", "cat,dog")]
    arm = ["--arm", given["arm"]] if "arm" in given else []
    assert main(["classify", place["folder"], *words, *arm]) == 2
    said_there = capsys.readouterr()
    assert said_there.out == "" and len(said_there.err.splitlines()) == 1
    assert re.search(said, said_there.err)
