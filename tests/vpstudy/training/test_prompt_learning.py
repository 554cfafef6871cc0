"""Learning of text prompts on a tiny CLIP: losses against closed forms, noise, quantization, early stopping."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parametrize

from studies.parameters import read
from vpstudy import paths
from vpstudy.data.target import load as load_target
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.clip import small_clip
from vpstudy.models.text_tower import TextTower
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.quantized import Quantizer, Settings
from vpstudy.prompts.text import TextPrompt
from vpstudy.training.prompt_learning import tasks, weights
from vpstudy.training.prompt_learning.learning import Noisy, epochs, learn, measure
from vpstudy.training.prompt_learning.prompters import references
from vpstudy.training.prompt_learning.prompters.base import Noise, Prompter, Variant
from vpstudy.training.prompt_learning.prompters.prograd import aligned
from vpstudy.training.prompt_learning.registry import PROMPTERS
from vpstudy.training.prompt_learning.settings import PromptLearning
from vpstudy.training.prompt_learning.tasks import Task
from vpstudy.training.prompt_learning.trial import Trial

CONTENT = read(paths.SCALES / "default/params.yaml")["qprompt"]["settings"]
BASE, NEW = ["digit one", "digit two", "digit three"], ["small letter a", "greek pi"]


@pytest.fixture(scope="module")
def tower() -> TextTower:
    clip = (
        small_clip(ARCHITECTURES["cnn"], 32, seed=0, width=32, heads=2, layers=1, embed=16).eval().requires_grad_(False)
    )
    return TextTower(clip)


@pytest.fixture(scope="module")
def task(tower) -> Task:
    draw = torch.Generator().manual_seed(0)

    def pictures(n: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(n) % k
        centres = torch.randn(k, 16, generator=torch.Generator().manual_seed(k))
        return F.normalize(centres[labels] + 0.3 * torch.randn(n, 16, generator=draw), dim=1), labels

    hand = {"base": F.normalize(torch.randn(3, 16, generator=draw), dim=1)}
    hand["new"] = F.normalize(torch.randn(2, 16, generator=draw), dim=1)
    return Task(
        BASE, NEW, pictures(24, 3), pictures(12, 3), {"base": pictures(30, 3), "new": pictures(20, 2)}, hand, 10.0
    )


def settings(**changes) -> PromptLearning:
    return PromptLearning.model_validate(CONTENT | {"epochs": 6, "evaluations": 3, "batch": 8} | changes)


def trial(tower, task, name: str, seed: int = 0, checkpoint: str = "cnn", **changes) -> Trial:
    s = settings(**changes)
    return Trial(tower, task, s, seed, checkpoint, getattr(s, name, None))


def arms(tower, task, name: str, seed: int = 0, **changes) -> dict:
    return {arm.name: arm for arm in PROMPTERS[name].arms(trial(tower, task, name, seed, **changes))}


def test_learning_starts_at_the_words_and_lowers_the_loss(tower, task):
    learned = learn(tower, task, Variant(), settings(epochs=20, learning_rate=0.1), seed=0)
    start = TextPrompt(tower, task.base_names, learned.contexts[0])

    def loss(prompt) -> float:
        return F.cross_entropy(task.scale * task.train[0] @ prompt().T, task.train[1]).item()

    assert loss(learned.prompt) < loss(start)
    assert torch.equal(learned.contexts[0], start.context)
    assert [entry["epoch"] for entry in learned.curve] == [0, 7, 14, 20]
    assert torch.equal(learned.contexts[-1], learned.prompt.context)


def test_the_learning_rate_is_that_of_a_cosine_after_one_constant_epoch(monkeypatch):
    """CoOp's scheduler: torch's cosine over all epochs, which starts at its full rate after the epoch of warm-up."""
    s, rates = settings(epochs=10, evaluations=1, batch=8, learning_rate=2e-3), []
    weight = torch.zeros(1, requires_grad=True)
    original = torch.optim.SGD.step

    def step(self):
        rates.append(self.param_groups[0]["lr"])
        return original(self)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    examples = torch.zeros(8, 1), torch.zeros(8)
    for _ in epochs([weight], examples, s, 0, lambda *_: (loss := weight.square().sum(), loss.backward)):
        pass
    monkeypatch.undo()
    oracle = torch.optim.SGD([weight], 2e-3)
    cosine, expected = torch.optim.lr_scheduler.CosineAnnealingLR(oracle, 10), [1e-5]
    for _ in range(9):
        expected.append(cosine.get_last_lr()[0])
        oracle.step()
        cosine.step()
    assert rates == pytest.approx(expected)
    assert [round(1e3 * rate, 3) for rate in rates[1:4]] == [2.0, 1.951, 1.809]


@pytest.mark.parametrize(("name", "arm"), [("noise", "fixed-0.5"), ("noise", "fresh-0.5"), ("quantizers", "random-2")])
def test_random_draws_of_controls_differ_between_seeds_and_checkpoints(tower, task, name, arm):
    changes = {"noise": {"levels": [0.5]}, "quantizers": {"bits": [2], "threshold_bits": [2]}, "epochs": 3}
    draws = []
    for seed, checkpoint in ((0, "cnn"), (1, "cnn"), (0, "cnn 1"), (0, "cnn")):
        variants = {}
        this = trial(tower, task, name, seed, checkpoint, **changes)
        this.trained = lambda name, variant, variants=variants: variants.update({name: variant})
        list(PROMPTERS[name].arms(this))
        draws.append(variants[arm].noise.seed if name == "noise" else variants[arm].quantize.seed)
    assert len(set(draws)) == 3 and draws[0] == draws[3]


def test_equal_seeds_give_equal_prompts_and_others_do_not(tower, task):
    one, again, other = (learn(tower, task, Variant(), settings(), seed).prompt.context for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_tower_stays_as_it_is(tower, task):
    before = {k: v.clone() for k, v in tower._tower[0].state_dict().items()}
    arms(tower, task, "cocoop", cocoop={"epochs": 1}, evaluations=1)
    assert all(torch.equal(v, before[k]) for k, v in tower._tower[0].state_dict().items())


def test_new_classes_are_never_trained_on(tower, task):
    other = Task(
        **{
            **task.__dict__,
            "test": {"base": task.test["base"], "new": (task.test["new"][0].flip(0), task.test["new"][1])},
        }
    )
    one, two = (learn(tower, t, Variant(), settings(), seed=0) for t in (task, other))
    assert torch.equal(one.prompt.context, two.prompt.context)


def test_the_pull_to_the_hand_written_prompt_pulls(tower, task):
    strong, none = (arms(tower, task, "kgcoop", kgcoop={"weight": w})["full"].learned.prompt for w in (50.0, 0.0))
    plain = learn(tower, task, Variant(), settings(), seed=0).prompt

    def near(prompt) -> float:
        return (prompt() * task.hand_written["base"]).sum(1).mean().item()

    assert torch.allclose(none.context, plain.context, atol=1e-6)
    assert near(strong) > near(none)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_gradient_loses_what_goes_against_knowledge(share):
    draw = torch.Generator().manual_seed(1)
    knowledge = torch.randn(5, 3, generator=draw)
    against = -0.7 * knowledge + torch.randn(5, 3, generator=draw) * 0.1
    k, g = knowledge.flatten().numpy(), against.flatten().numpy()
    projection = np.outer(k, k) @ g / (k @ k)  # brute force
    assert np.allclose(aligned(against, knowledge, share).flatten().numpy(), g - share * projection, atol=1e-5)
    assert torch.equal(aligned(knowledge, knowledge, share), knowledge)
    assert torch.equal(aligned(against, torch.zeros(5, 3), share), against)


def test_noise_that_is_kept_stays_and_fresh_noise_is_gone_when_measured():
    values = 3 + 2 * torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    for fixed in (True, False):
        module = torch.nn.ParameterDict({"w": values.clone()})
        noise = Noisy(values, Noise(0.5, seed=3, fixed=fixed))
        parametrize.register_parametrization(module, "w", noise)
        first, second = module["w"].detach().clone(), module["w"].detach().clone()
        assert (first - values).std().item() == pytest.approx(0.5 * values.std().item(), rel=0.03)
        assert torch.equal(first, second) == fixed
        module.eval()
        noise.eval()
        assert torch.equal(module["w"].detach(), first if fixed else values)


@pytest.mark.parametrize("fixed", [True, False])
def test_noise_that_grows_is_in_units_of_what_the_values_have_become(fixed):
    start = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    module = torch.nn.ParameterDict({"w": start.clone()})
    noise = Noisy(start, Noise(0.6, seed=3, fixed=fixed, grows=True))
    parametrize.register_parametrization(module, "w", noise)
    values = module.parametrizations["w"].original
    for factor in (1.0, 8.0):
        values.data.copy_(factor * start + 3)
        added = module["w"] - values
        assert added.std().item() == pytest.approx(0.6 * values.std().item(), rel=0.03)
    module["w"].sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))  # noise has no gradient of its own
    noise.eval()
    assert torch.equal(module["w"], values) != fixed


def test_coop_in_other_forms(tower, task):
    middle, specific = PROMPTERS["forms"].arms(Trial(tower, task, settings(), 0, "cnn 0"))
    assert middle.logits.keys() == {"validation", "base", "new"} and specific.logits.keys() == {"validation", "base"}
    classes = len(task.base_names)
    assert specific.n_weights == classes * middle.n_weights == specific.learned.prompt.context.numel()
    assert specific.published_weights == classes * middle.published_weights
    assert middle.used is None and specific.used is None
    own = specific.learned.prompt.context
    assert not torch.allclose(own[0], own[1])  # each learned by itself


def test_kept_noise_is_in_the_prompt_that_is_used(tower, task):
    kept = learn(tower, task, Variant(noise=Noise(5.0, fixed=True)), settings(), seed=0)
    offset = kept.prompt.context - kept.contexts[-1]
    assert offset.std().item() == pytest.approx(5 * kept.contexts[0].std(correction=0).item(), rel=0.25)
    fresh = learn(tower, task, Variant(noise=Noise(5.0)), settings(), seed=0)
    assert torch.equal(fresh.prompt.context, fresh.contexts[-1])


def test_matched_noise_has_the_error_of_one_bit(tower, task):
    this = trial(tower, task, "noise", context=60)
    this.start = torch.randn(60, 512, generator=torch.Generator().manual_seed(0))
    assert this.error(bits=1) == pytest.approx(0.6028, abs=0.01)  # √(1 − 2/π), of a Gaussian (Max, 1960)


@pytest.mark.parametrize("bits", [1, 2])
def test_prompts_trained_through_a_codebook_hold_its_values_alone(tower, task, bits):
    learned = learn(tower, task, Variant(quantize=Settings(bits, interval=2)), settings(), seed=0)
    assert len(learned.prompt.context.unique()) <= 2**bits
    assert not torch.equal(learned.contexts[-1], learned.contexts[0])  # straight through: the full weights learn
    assert learned.quantizer.refits[0] == 0


def test_stopping_early_looks_at_validation_alone(tower, task):
    learned = learn(
        tower, task, Variant(stop_early=True), settings(epochs=12, evaluations=12, learning_rate=0.5), seed=0
    )
    best = max(entry["validation"] for entry in learned.curve[1:])
    chosen = next(entry for entry in learned.curve[1:] if entry["validation"] == best)
    found = measure(learned.prompt, task)
    assert (found["validation"].argmax(1) == task.validation[1]).float().mean().item() == pytest.approx(best)
    assert (found["new"].argmax(1) == task.test["new"][1]).float().mean().item() == pytest.approx(chosen["new"])


def test_every_prompter_has_the_arms_that_it_says(tower, task):
    few = {"epochs": 1, "evaluations": 1, "cocoop": {"epochs": 1}}
    names = {name: list(arms(tower, task, name, **few)) for name in PROMPTERS}
    assert names["zero_shot"] == ["one", "templates", "hand-1", "hand-2", "hand-4"]
    assert names["coop"] == ["full", "ptq-1", "ptq-2", "ptq-4"]
    assert names["qcoop"] == ["qat-1", "qat-2", "qat-4"]
    assert len(names["noise"]) == 2 * (3 + 1) and "fixed-matched" in names["noise"]
    assert len(names["quantizers"]) == 5 * 2 + 2 * 2
    assert names["references"] == ["probe", "tip", "tip-f"]
    assert names["matched_noise"] == ["fresh", "fixed"] and names["forms"] == ["middle", "specific"]
    for name, of in names.items():
        labels = {"full"} | set(PROMPTERS[name].arm_labels)
        assert all(arm in labels or arm.partition("-")[0] in labels for arm in of), name


def test_a_prompter_is_one_line_in_the_registry(tower, task, monkeypatch):
    """What a file in `prompters/` would hold: CoOp at half of the rate."""
    half = Prompter("CoOp, slowly", lambda t: iter([t.trained("full", Variant(changes={"learning_rate": 0.01}))]))
    monkeypatch.setitem(PROMPTERS, "slow", half)
    found = arms(tower, task, "slow")["full"]
    expected = learn(tower, task, Variant(), settings(learning_rate=0.01), seed=0)
    assert torch.equal(found.used, expected.prompt.context)
    assert found.n_weights == 4 * 32 and found.published_weights == 4 * 512


def test_a_training_that_diverges_is_an_arm_with_a_reason(tower, task):
    found = arms(tower, dataclasses.replace(task, scale=float("nan")), "coop")
    assert list(found) == ["full", "ptq-1", "ptq-2", "ptq-4"]
    assert {arm.reason for arm in found.values()} == {"the training loss was nan"}
    assert not any(arm.logits for arm in found.values())


def test_quantization_after_training_takes_the_nearest_value():
    context = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    quantizer = Quantizer(context, Settings(2))
    values = quantizer(context)
    grid = values.unique()
    assert torch.equal(values, grid[(context.flatten()[:, None] - grid).abs().argmin(1)].view(4, 32))
    assert quantizer.packed(context).bytes == stored_bytes(128, 2) == 40


def test_tip_adapter_is_its_formula(task):
    (keys, labels), texts = task.train, task.hand_written["base"]
    values = F.one_hot(labels, 3).float()
    found = references.cached(task.test["base"][0], keys, values, texts, task.scale)
    for n in (0, 7):
        query = task.test["base"][0][n]
        for k in range(3):
            cache = sum(np.exp(-5.5 * (1 - float(query @ keys[p]))) for p in range(24) if labels[p] == k)
            assert found[n, k].item() == pytest.approx(task.scale * float(query @ texts[k]) + cache, rel=1e-4)
    pictures, classes = task.validation
    right = {
        how: int((references.cached(pictures, keys, values, texts, task.scale, *how).argmax(1) == classes).sum())
        for how in product(references.ALPHAS, references.BETAS)
    }
    best = next(how for how, n in right.items() if n == max(right.values()))
    chosen = references.cached(task.test["base"][0], keys, values, texts, task.scale, *best)
    assert torch.allclose(references.tip_adapter(task, 0, train=False), chosen)
    assert next(iter(right)) == (1.0, 5.5)  # as published, where others are no better


def test_references_learn_the_base_classes(task):
    labels = task.test["base"][1]
    zero_shot = (task.test["base"][0] @ task.hand_written["base"].T).argmax(1)
    for logits in (references.probe(task), references.tip_adapter(task, 0, train=True)):
        assert (logits.argmax(1) == labels).float().mean() > (zero_shot == labels).float().mean()
        assert logits.shape == (30, 3)


def test_measures_of_weights_on_known_distributions():
    draw = torch.Generator().manual_seed(0)
    normal = 0.02 * torch.randn(100, 100, generator=draw)
    uniform = torch.rand(100, 100, generator=draw)
    first, same, other = weights.stages([normal, 3 * normal + 1, uniform], [0, 1, 2])
    assert first["sigma"] == pytest.approx(0.02, rel=0.02)
    assert first["kl"] is None and first["ks"] == 0
    assert same["ks"] < 0.01 and same["kl"] < 1e-6  # scale and place do not matter
    assert first["kurtosis"] == pytest.approx(0, abs=0.15)
    assert first["beyond_3"] == pytest.approx(0.0027, abs=0.001)
    assert other["kurtosis"] == pytest.approx(-1.2, abs=0.05)
    assert other["beyond_3"] == 0 and other["ks"] > 0.04 and other["kl"] > 0.05
    assert weights.histogram(np.array([-9.0, 0.1, 9.0])).sum() == 3


def test_two_classes_of_the_same_words_are_refused_by_the_names_of_their_folders():
    data = load_target("digits", 8)
    names = ["AnnualCrop", *data.class_names[1:-1], "annual_crop"]
    with pytest.raises(ValueError, match="classes 'AnnualCrop' and 'annual_crop' are the same tokens in a text"):
        tasks.class_names(dataclasses.replace(data, name="fields", class_names=names))
    fields = dataclasses.replace(data, name="fields", class_names=["AnnualCrop", "Forest"])
    assert tasks.class_names(fields) == ["annual crop", "Forest"]
