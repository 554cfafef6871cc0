"""A classifier from elsewhere gets a text tower: its cell, prompts for it, and what is refused."""

import hashlib

import pytest
import torch
from encoders import encoder
from running import run

from studies import results
from studies.backbones import weights_checks
from studies.qprompt import source_models
from studies.qprompt.every_class_cells import FewShotCell, OtherPicturesCell
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from vpstudy import paths
from vpstudy.models import backbones
from vpstudy.models.architectures import ARCHITECTURES, Architecture
from vpstudy.models.text_tower import joined
from vpstudy.prompts.multimodal import MultimodalPrompt, first_weights
from vpstudy.prompts.text import placeholders
from vpstudy.runtime import Runtime
from vpstudy.settings import ParameterError
from vpstudy.training.prompt_learning import locked_tuning, tasks

HERE = Runtime(torch.device("cpu"), "fp32", 1)
ENTRY = {"model": "timm/resnet10t", "location": "$FILE", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def using(small, tmp_path_factory):
    """From changes of locked_tuning to parameters with the classifier `other` alone, whose checkpoint is there."""
    file = encoder(tmp_path_factory.mktemp("encoder")) / "model.safetensors"
    cnn = ARCHITECTURES["cnn"]
    architecture = Architecture("other", cnn.model, cnn.arguments)
    source = backbones.Backbone(architecture, [*map(str, range(1, 9)), "dog", "cat"], seed=5)
    backbones.save(source, paths.MODELS / "default" / "other" / "source/0.safetensors")
    few = {"seeds": [0], "epochs": 1, "evaluations": 1, "bits": [1]}
    tuning = {"location": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": 32, "held_out": 2}
    tuning |= {"pictures": "digits", "steps": 2, "names": 3, "pictures_per_step": 4}

    def parameters(changes=None, **more):
        return small(
            weights={"other": ENTRY},
            outside=["other"],
            clips=["other"],
            qprompt={"axes": {"backbones": ["other"]}, "settings": few},
            few_shot={"axes": {"backbones": ["other"]}},
            other_pictures={"axes": {"backbones": ["other"]}},
            locked_tuning=tuning | (changes or {}),
            **{"multimodal": {"axes": {"backbones": []}}} | more,
        )

    return parameters


@pytest.fixture(scope="module")
def made(using):
    cell = source_models.cell(using(), "other")
    clip, losses = cell.pretrain()
    rows = cell.measure(clip)
    cell.files(clip)
    return cell, clip, losses, rows


def test_it_is_measured_beside_the_networks_own_classifier(made, tmp_path):
    cell, clip, losses, rows = made
    groups = [f"{name}{of}" for name in ("held-out names", "shared names") for of in ("", ", classifier")]
    assert len(losses) == 2 and [row["method"] for row in rows] == [*groups, "digits"]
    assert {name: len(of) for name, of in cell.groups.items()} == {"held-out names": 2, "shared names": 8}
    held_out = set(cell.groups["held-out names"])
    assert held_out.isdisjoint(cell.trained) and len(cell.trained) == 8
    with torch.no_grad():
        logits = cell.start.frozen()(cell.data.pictures[torch.as_tensor(cell.data.test)] / 255)
    labels, shared = cell.data.labels[torch.as_tensor(cell.data.test)], torch.arange(8)
    inside = (labels >= 1) & (labels <= 8)
    right = (logits[inside][:, shared].argmax(1) == labels[inside] - 1).double().mean()
    assert rows[3]["metrics"]["accuracy"] == pytest.approx(float(right), abs=1e-6)
    result = cell.result(clip, rows)
    assert set(result["facts"]["held_out"]) == {cell.names[k] for k in held_out}
    assert result["cell"]["settings"]["clip"]["steps"] == 2
    results.write(results.path(cell.cell, tmp_path), [result])
    pictures, texts = cell.examples(4)
    assert pictures.shape == (4, 3, 32, 32) and set(texts) <= {cell.names[k] for k in cell.trained}


def test_prompts_are_learned_for_it(made, using, monkeypatch):
    cell = PromptCell(using(), "other", "digits", "coop")
    _, clip, *_ = made
    assert cell.runtime == HERE
    expected = tasks.features(clip, made[0].architecture, cell.data.pictures[:9], HERE)
    torch.testing.assert_close(cell.features[:9], expected, atol=1e-4, rtol=1e-3)
    with monkeypatch.context() as patch:
        patch.setattr(locked_tuning, "fused", lambda *_: pytest.fail("they are kept"))
        assert torch.equal(PromptCell(using(), "other", "digits", "coop").features, cell.features)
    arms = run(cell)
    result = cell.result(arms)
    assert {row["status"] for row in result["rows"]} == {"ok"} and len(result["rows"]) == 4
    assert result["rows"][0]["bytes"] == 2 * 4 * 16 and result["cell"]["settings"]["clip"]["size"] == 32
    assert [words[0] for words in cell.nearest_words(arms[0].start)] == ["a", "picture", "of", "a"]
    other = OtherPicturesCell(using(), "other", "digits")
    other.settings = other.settings.model_copy(update={"others": []})  # this encoder knows too few words for letters
    assert {(r["group"], r["status"]) for r in run(other)} == {("all", "ok"), ("inverted", "ok")}
    rows = run(FewShotCell(using(), "other", "digits"))
    assert {row["status"] for row in rows} == {"ok"}


def test_deep_text_prompts_start_as_the_words_do(made, using):
    deep = {"axes": {"backbones": ["other"]}, "settings": {"context": "a picture of a", "seeds": [0], "bits": [4]}}
    cell = MultimodalCell(using(multimodal=deep), "other", "digits")
    task = cell.task(0)
    weights = first_weights(cell.clip, "a picture of a", 2, 0, task.base_names)
    prompt = MultimodalPrompt(cell.clip, task.base_names, weights)
    assert weights.deep.shape == (1, 4, 16) and weights.projections.numel() == 0
    tokens, embedded = placeholders(prompt.tower, task.base_names, 4)
    states = prompt.tower.states(joined(embedded, weights.context), tokens)[1][:, 1:5]
    torch.testing.assert_close(weights.deep[0], states.mean(0))
    arms = run(cell)
    result = cell.result(arms)
    assert {(row["prompter"], row["arm"]) for row in result["rows"]} == {
        ("zero_shot", "one"), ("deep", "full"), ("deep", "ptq-4"), ("qdeep", "qat-4"),
    }  # fmt: skip
    assert {row["status"] for row in result["rows"]} == {"ok"}
    full, through = arms[0], next(arm for arm in arms if arm.name == "qat-4")
    assert cell.bytes(None) == 2 * 2 * 4 * 16 and cell.bytes(4) == 2 * 4 * 16 / 2 + 2 * 2 * 16  # two codebooks
    assert not torch.equal(full.learned.prompt.weights.deep, weights.deep)
    assert cell.stored_and_used_again(through)["bytes of codes and codebooks"] == cell.bytes(4)
    with pytest.raises(ValueError, match="depth is 3; the text tower has 2 blocks: give 1 to 2"):
        first_weights(cell.clip, 2, 3, 0, task.base_names)
    with pytest.raises(ParameterError, match=r"multimodal.settings.depth: 3: the sentence encoder has 2 blocks"):
        weights_checks.check(using(multimodal={"axes": deep["axes"], "settings": {"depth": 3}}))


def test_where_pictures_show_no_class_of_the_network_held_out_names_are_measured_by_class_vectors(using):
    cell = source_models.cell(using({"pictures": "faces", "held_out": 4}), "other")
    assert not cell.groups and len(cell.held_out) == 4 and {*cell.held_out}.isdisjoint(cell.trained)
    clip, _ = cell.pretrain()
    row, *targets = cell.measure(clip)
    texts = cell.texts(clip, [cell.names[k] for k in cell.held_out])
    vectors = cell.start.classifier.weight.flatten(1)
    nearest = (torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)[cell.held_out] @ texts.T).argmax(1)
    assert row["method"] == "class vectors of held-out names"
    assert row["metrics"]["accuracy"] == pytest.approx((nearest == torch.arange(4)).float().mean().item())
    assert [of["method"] for of in targets] == ["digits"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "1" * 64}, "expected 1111"),
        ({"held_out": 9}, "has 10 classes, 8 of them in digits; hold out at most these"),
        ({"names": 9}, "locked_tuning: held_out: 2, names: 9"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(using, changes, said):
    with pytest.raises(ValueError, match=said):
        source_models.cell(using(changes), "other")


def test_a_missing_encoder_is_said_before_any_work(using):
    for location in ("nowhere.safetensors", "pypi://no-such-package/model.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"there is no such file|the package is not installed"):
            source_models.cell(using({"location": location}), "other")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"locked_tuning": {"pictures": "nothing"}}, "locked_tuning.pictures: 'nothing': no such target"),
        ({"locked_tuning": {"location": "model.pth"}}, "locked_tuning.location: 'model.pth'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(small, changes, said):
    own = {"weights": {"other": ENTRY}, "outside": ["other"], "clips": ["cnn", "vit", "other"]}
    with pytest.raises(ParameterError) as error:
        small(**own | changes)
    assert said in str(error.value)
