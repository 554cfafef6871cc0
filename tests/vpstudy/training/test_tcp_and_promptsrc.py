"""TCP and the text side of PromptSRC, on a tiny CLIP and a tiny sentence encoder: against closed forms and CoOp."""

import pytest
import torch
import torch.nn.functional as F
from encoders import encoder
from scipy import stats
from torch import Tensor

from studies.parameters import read
from vpstudy import paths
from vpstudy.models import clip as clips
from vpstudy.models import sentence_tower
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.prompts.text import ClassNetwork, TextPrompt, described, first_context
from vpstudy.training.prompt_learning.learning import Step, learn
from vpstudy.training.prompt_learning.measuring import measure
from vpstudy.training.prompt_learning.prompters import kgcoop, promptsrc
from vpstudy.training.prompt_learning.prompters.base import Variant
from vpstudy.training.prompt_learning.registry import PROMPTERS
from vpstudy.training.prompt_learning.settings import PromptLearning
from vpstudy.training.prompt_learning.tasks import HAND_WRITTEN, Task, templates
from vpstudy.training.prompt_learning.trial import Trial

CONTENT = read(paths.SCALES / "default/params.yaml")["qprompt"]["settings"]
BASE, NEW = ["dog", "cat", "three cats"], ["digit one", "photo"]
PUBLISHED = promptsrc.Settings()


@pytest.fixture(scope="module", params=["clip", "sentence"])
def tower(request, tmp_path_factory):
    if request.param == "sentence":
        clip = clips.two_towers(ARCHITECTURES["cnn"], encoder(tmp_path_factory.mktemp("encoder")), 32, seed=0)
    else:
        clip = clips.small_clip(ARCHITECTURES["cnn"], 32, seed=0, width=32, heads=2, layers=1, embed=16)
    return sentence_tower.of(clip.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def task(tower) -> Task:
    written = {"base": described(tower, BASE, HAND_WRITTEN), "new": described(tower, NEW, HAND_WRITTEN)}
    draw = torch.Generator().manual_seed(0)

    def pictures(n: int, group: str) -> tuple[Tensor, Tensor]:
        labels, width = torch.arange(n) % len(written[group]), written[group].shape[1]
        centres = torch.randn(len(written[group]), width, generator=torch.Generator().manual_seed(1))
        return F.normalize(centres[labels] + torch.randn(n, width, generator=draw), dim=1), labels

    tests = {"base": pictures(30, "base"), "new": pictures(20, "new")}
    return Task(BASE, NEW, pictures(24, "base"), pictures(12, "base"), tests, written, 10.0)


def settings(**changes) -> PromptLearning:
    return PromptLearning.model_validate(CONTENT | {"epochs": 6, "evaluations": 3, "batch": 8} | changes)


def arm(tower, task, name: str, **changes):
    s = settings(**changes)
    (found,) = PROMPTERS[name].arms(Trial(tower, task, s, 0, "cnn", getattr(s, name, None)))
    return found


def a_step(tower, task) -> Step:
    features, labels = (tensor[:8] for tensor in task.train)
    prompt = TextPrompt(tower, BASE, first_context(tower, "a photo of the", seed=0))
    texts = prompt()
    logits = task.scale * features @ texts.T
    return Step(task, features, texts, logits, F.cross_entropy(logits, labels))


# PromptSRC.


def test_the_loss_of_promptsrc_is_its_formula(tower, task):
    step, frozen = a_step(tower, task), described(tower, BASE, templates(tower))
    found = promptsrc.regularised(frozen, 25.0, 3.0)(step)
    distance = sum((step.texts[k] - frozen[k]).abs().sum() for k in range(3)) / frozen.numel()
    divergence = 0.0
    for feature, logits in zip(step.features, step.logits, strict=True):
        then, now = ((task.scale * frozen @ feature).softmax(0), logits.softmax(0))
        divergence += (then * (then / now).log()).sum() / (8 * 3)
    torch.testing.assert_close(found, step.loss + 25 * distance + 3 * divergence, rtol=1e-4, atol=1e-5)
    assert distance > 0 and divergence > 0


@pytest.mark.parametrize(("epochs", "mean", "deviation"), [(20, 0.75, 0.05), (7, 0.3, 0.4), (1, 0.75, 0.05)])
def test_weights_of_epochs_are_a_gaussian_of_sum_one(epochs, mean, deviation):
    found = promptsrc.shares(epochs, mean, deviation)
    density = stats.norm(mean * epochs, deviation * epochs).pdf(range(1, epochs + 1))
    assert found.sum() == pytest.approx(1) and found == pytest.approx(density / density.sum())


def test_the_weights_published_are_those_of_mean_15_and_deviation_1_at_20_epochs():
    found = promptsrc.shares(20, PUBLISHED.mean, PUBLISHED.deviation)
    assert found.argmax() == 14 and found[14] / found[13] == pytest.approx(2.718281828459045**0.5)


def test_the_prompt_used_is_the_mean_of_those_after_each_epoch(tower, task):
    changes = {"epochs": 4, "evaluations": 4, "learning_rate": 0.1}
    weights = [0.1, 0.2, 0.3, 0.4]
    learned = learn(tower, task, Variant(averaged=weights), settings(**changes), seed=0)
    expected = sum(w * context for w, context in zip(weights, learned.contexts[1:], strict=True))
    torch.testing.assert_close(learned.prompt.context, expected)
    assert not torch.equal(learned.prompt.context, learned.contexts[-1])
    plain = learn(tower, task, Variant(), settings(**changes), seed=0)
    assert torch.equal(plain.contexts[-1], learned.contexts[-1])  # it is trained as without the mean
    again = measure(learned.prompt, task)
    assert all(torch.equal(again[part], learned.logits[part]) for part in ("base", "new"))


def test_promptsrc_without_its_parts_is_coop(tower, task):
    last_epoch = {"mean": 1.0, "deviation": 1e-3}
    found = arm(tower, task, "promptsrc", promptsrc={"text_weight": 0.0, "logits_weight": 0.0} | last_epoch)
    coop = learn(tower, task, Variant(), settings(), seed=0)
    assert torch.equal(found.used, coop.prompt.context)
    assert all(torch.equal(found.logits[part], coop.logits[part]) for part in ("base", "new"))


def test_promptsrc_stays_nearer_to_the_frozen_texts_than_coop(tower, task):
    frozen, rate = described(tower, BASE, templates(tower)), {"learning_rate": 0.1, "epochs": 10}
    one = arm(tower, task, "promptsrc", promptsrc={"text_weight": 200.0}, **rate)
    other = learn(tower, task, Variant(), settings(**rate), seed=0)
    far = [F.l1_loss(prompt(), frozen).item() for prompt in (one.learned.prompt, other.prompt)]
    assert far[0] < far[1]
    assert one.published_weights == 4 * 512 and one.n_weights == one.used.numel()


# TCP.


def test_the_network_of_tcp_is_its_formula_and_as_large_as_published():
    network = ClassNetwork(16, 4, 32, seed=0)
    assert not network(torch.randn(3, 16)).any() and network(torch.randn(3, 16)).shape == (3, 4, 32)
    first, _, last = network.layers
    torch.nn.init.normal_(last.weight), torch.nn.init.normal_(last.bias)
    texts = torch.randn(3, 16)
    hidden = texts @ first.weight.T + first.bias
    expected = (hidden * torch.sigmoid(1.702 * hidden)) @ last.weight.T + last.bias
    torch.testing.assert_close(network(texts), expected.view(3, 4, 32))
    # at CLIP's width: 512 · 128 + 128 in, 128 · 4 · 512 + 4 · 512 out
    assert ClassNetwork.count(512, 4, 512) == 65_664 + 264_192
    assert torch.equal(ClassNetwork(16, 4, 32, seed=0).layers[0].weight, first.weight)


def test_a_shift_of_each_class_against_a_loop(tower):
    start = first_context(tower, "a picture of", seed=0)
    shift = 0.1 * torch.randn(3, *start.shape, generator=torch.Generator().manual_seed(0))
    together = TextPrompt(tower, BASE, start)(shift)
    for k, name in enumerate(BASE):
        torch.testing.assert_close(together[k], TextPrompt(tower, [name], start + shift[k])()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 8.0])
def test_tcp_with_a_network_of_zeros_is_kgcoop_and_without_the_pull_coop(tower, task, weight, monkeypatch):
    original = ClassNetwork.forward
    monkeypatch.setattr(ClassNetwork, "forward", lambda self, texts: 0 * original(self, texts))
    found = arm(tower, task, "tcp", tcp={"weight": weight})
    variant = Variant(loss=kgcoop.pulled(weight)) if weight else Variant()
    expected = learn(tower, task, variant, settings(), seed=0)
    torch.testing.assert_close(found.used, expected.prompt.context)
    torch.testing.assert_close(found.logits["new"], expected.logits["new"])


def test_tcp_learns_a_prompt_for_each_class_and_makes_one_for_new_classes(tower, task):
    found = arm(tower, task, "tcp", learning_rate=0.1, epochs=10)
    network = found.learned.meta
    shifts = {group: network(task.hand_written[group]) for group in ("base", "new")}
    assert shifts["base"].flatten(1).unique(dim=0).shape[0] == 3  # each its own
    for group, names in (("base", BASE), ("new", NEW)):
        with torch.no_grad():
            alone = [
                TextPrompt(tower, [name], found.used + shift)()[0]
                for name, shift in zip(names, shifts[group], strict=True)
            ]
        expected = task.scale * task.test[group][0] @ torch.stack(alone).T
        torch.testing.assert_close(found.logits[group], expected, rtol=1e-4, atol=1e-4)
    assert found.published_weights == 4 * 512 + ClassNetwork.count(512, 4, 512)
    assert found.n_weights == found.used.numel() + sum(p.numel() for p in network.parameters())


def test_a_result_records_settings_of_a_later_prompter_only_where_they_are_its_own_or_changed():
    assert not {"tcp", "promptsrc"} & set(settings().model_dump())
    assert settings(tcp={"weight": 1.0}).model_dump()["tcp"] == {"weight": 1.0}
