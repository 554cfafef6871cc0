"""Visual prompting, linear probing and fine-tuning: what they train, what they leave alone, what they return."""

import copy
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from vpstudy.compression import quantization
from vpstudy.compression.magnitude import magnitude
from vpstudy.data import glyphs
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone
from vpstudy.prompts.visual.modules import AddedPrompt, BorderPrompt
from vpstudy.prompts.visual.registry import PROMPTS
from vpstudy.runtime import Runtime
from vpstudy.training.data import Examples, TransferData
from vpstudy.training.fine_tuning import fine_tuning
from vpstudy.training.fit import batches
from vpstudy.training.linear_probe import linear_probe
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import FineTuning, LinearProbe, VisualPrompting
from vpstudy.training.visual_prompting import PromptedBackbone, mapping_of, visual_prompting

PROMPT = {"steps": 4, "batch": 16, "learning_rates": [0.1], "evaluations": 2, "canvas": 32, "epochs": 1}
PROMPT |= {"prompt": "border", "prompts": {"border": {"inner": 20}}, "remaps": 1}
SIZES = {
    "border": {"inner": 20},
    "full": {},
    "low_rank": {"rank": 4},
    "patch": {"side": 8},
    "random_patch": {"side": 8},
}
SIZES |= {"frame": {"width": 3}, "circle": {"width": 3}}
PROBE = LinearProbe(steps=20, batch=64, learning_rates=[0.01], evaluations=2, size=32, inner=None)
TUNE = FineTuning(steps=3, batch=16, learning_rates=[0.01], evaluations=1, size=32, weight_decay=0.1)


@pytest.fixture(scope="module")
def data():
    return TransferData("faces", 10, Runtime(torch.device("cpu"), "fp32", 1))


@pytest.fixture
def backbone():
    return Backbone(ARCHITECTURES["cnn"], glyphs.class_names, seed=1)


def state_of(backbone):
    return {key: value.clone() for key, value in backbone.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("mapping", ["iterative", "frequency", "random"])
def test_a_prompt_leaves_its_backbone_as_it_was(data, backbone, mapping):
    before = state_of(backbone)
    outcome = visual_prompting(backbone, data, 2, 0, VisualPrompting(**PROMPT, mapping=mapping))
    assert same(state_of(backbone), before)
    assert outcome.artefact["prompt.theta"].abs().max() > 0  # the prompt did move
    chosen = outcome.artefact["mapping"]
    assert len(set(chosen.tolist())) == len(chosen) == 2


@pytest.mark.parametrize("mapping", ["bayesian", "bayesian_plus", "linear"])
def test_mappings_of_many_to_many_give_logits_of_the_target_classes(data, backbone, mapping):
    before = state_of(backbone)
    outcome = visual_prompting(backbone, data, 3, 0, VisualPrompting(**PROMPT, mapping=mapping))
    assert outcome.status == "ok" and outcome.probabilities["test"].shape[1] == 2
    assert same(state_of(backbone), before)
    chosen = mapping_of(outcome.artefact)
    assert chosen.shape == (2,) and chosen.min() >= 0 and chosen.max() < len(glyphs.class_names)
    if mapping == "linear":
        assert outcome.artefact["output.weight"].shape == (2, len(glyphs.class_names))
    else:
        np.testing.assert_allclose(outcome.artefact["omega"].sum(0), 1, rtol=1e-5)


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_is_trained_and_repeats_bit_for_bit(data, backbone, name):
    settings = VisualPrompting(**(PROMPT | {"prompt": name, "prompts": {name: SIZES[name]}}), mapping="random")
    first, again = (visual_prompting(backbone, data, 2, 0, settings) for _ in range(2))
    assert same(first.artefact, again.artefact)
    before, *_, after = first.history
    assert before["validation_nll"] != after["validation_nll"]


@pytest.mark.parametrize("remaps", [0, 3])
@pytest.mark.parametrize("budget", [1, "all"])
def test_an_evaluated_prompt_was_trained_under_its_mapping(data, backbone, monkeypatch, budget, remaps):
    """Map, train, evaluate: the same number of mappings at every budget, never one between training and evaluation."""
    events, trained, evaluated = [], [], []

    def record(name, of):
        original = getattr(PromptedBackbone, name)
        monkeypatch.setattr(PromptedBackbone, name, lambda self, *given: (of(self), original(self, *given))[1])

    record("estimate_mapping", lambda learner: events.append("map"))
    record("loss", lambda learner: (events.append("train"), trained.append(learner.mapping.clone())))
    record(
        "forward", lambda learner: (events.append("evaluate"), evaluated.append((trained[-1], learner.mapping.clone())))
    )
    settings = PROMPT | {"steps": 10, "evaluations": 5, "remaps": remaps, "learning_rates": [1.0]}
    visual_prompting(backbone, data, budget, 0, VisualPrompting(**settings, mapping="iterative"))
    assert events.count("map") == 1 + remaps
    places = [events[:k].count("train") for k, event in enumerate(events) if event == "map"]
    assert places == [0, *([3, 5, 8] if remaps else [])]
    assert all("train" in (events[k - 1], events[k - 2]) for k, e in enumerate(events) if e == "map" and k)
    assert all(torch.equal(*pair) for pair in evaluated[:5])  # the rest reads the chosen state


def test_a_class_without_a_picture_since_the_last_mapping_keeps_its_evidence(backbone):
    """Between two mappings, a few steps of a large and uneven set may show no picture of a rare class."""
    prompt = VisualPrompting(**PROMPT, mapping="iterative").make_prompt(0)
    learner = PromptedBackbone(backbone, prompt, "iterative", 3, 0)
    logits = 5 * torch.eye(len(backbone.class_names))
    learner.estimate_mapping(logits[[40, 41, 42, 42]], torch.tensor([0, 1, 2, 2]))
    learner.estimate_mapping(logits[[50, 50, 51]], torch.tensor([0, 0, 1]))
    assert learner.mapping.tolist() == [50, 51, 42] and learner.evidence.tolist() == [2, 1, 2]
    learner.estimate_mapping(logits[[43]], torch.tensor([2]))
    assert learner.mapping.tolist() == [40, 41, 43]


@pytest.mark.parametrize("mapping", ["iterative", "bayesian_plus", "linear"])
def test_validation_may_choose_the_mapping_alone(data, backbone, mapping):
    """A learning rate that ruins every prompt: the run is then no worse than no prompt at all."""
    settings = VisualPrompting(**PROMPT | {"learning_rates": [10]}, mapping=mapping)
    alone = visual_prompting(backbone, data, 5, 0, settings.untrained)
    learned = visual_prompting(backbone, data, 5, 0, settings)
    assert [entry["step"] for entry in alone.history] == [0]
    assert [entry["step"] for entry in learned.history] == [0, 2, 4]
    assert learned.history[0] == alone.chosen and learned.rank >= alone.rank
    # by hand: the picture in a grey border, the frozen backbone, and the mapping
    split = data.split(5, 0)
    canvas = torch.full((len(split.test), 3, 32, 32), 0.5)
    canvas[..., 6:26, 6:26] = data.pictures(20)[split.test].float() / 255
    with torch.no_grad():
        source = backbone.frozen()(canvas)
    kept = alone.artefact
    if mapping == "iterative":
        expected = source[:, kept["mapping"]]
    else:
        expected = source @ (kept["omega"] if "omega" in kept else kept["output.weight"].T)
    np.testing.assert_allclose(alone.logits["test"], expected, rtol=1e-4, atol=1e-5)


def test_the_mapping_alone_costs_no_second_pass(data, backbone, monkeypatch):
    passes = []
    original = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, x: passes.append(len(x)) or original(self, x))
    settings = VisualPrompting(**PROMPT, mapping="iterative").untrained
    for budget, seed in ((1, 0), (5, 0), (5, 1)):
        visual_prompting(backbone, data, budget, seed, settings)
    assert sum(passes) == len(data.labels)


def test_a_padded_probe_sees_the_small_picture_in_black(data):
    padded = data.padded(32, 20)
    assert padded.shape[2:] == (32, 32)
    assert torch.equal(padded[..., 6:26, 6:26], data.pictures(20))
    assert padded.sum() == data.pictures(20).sum()
    assert torch.equal(data.padded(32, None), data.pictures(32))


def test_a_diverged_run_ranks_below_every_other():
    ok = Outcome(1, 0, chosen={"validation_accuracy": 0.0, "validation_nll": 99.0})
    assert Outcome(1, 0, status="diverged", reason="why").rank < ok.rank


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (visual_prompting, VisualPrompting(**PROMPT, mapping="iterative")),
        (linear_probe, PROBE),
        (fine_tuning, TUNE),
    ],
)
def test_probabilities_cover_both_splits_and_repeat_bit_for_bit(data, backbone, method, settings):
    first, again = (method(backbone, data, 3, 5, settings) for _ in range(2))
    split = data.split(3, 5)
    assert first.probabilities["test"].shape == (len(split.test), 2)
    assert first.probabilities["validation"].shape == (len(split.validation), 2)
    np.testing.assert_allclose(first.probabilities["test"].sum(1), 1, atol=1e-5)
    for part in ("validation", "test"):
        assert np.array_equal(first.probabilities[part], again.probabilities[part])
    assert same(first.artefact, again.artefact)
    other = method(backbone, data, 3, 6, settings)
    assert not np.array_equal(first.probabilities["test"], other.probabilities["test"])


def test_validation_chooses_the_best_moment(data, backbone):
    settings = LinearProbe(steps=40, batch=8, learning_rates=[0.5], evaluations=8, size=32, inner=None)
    outcome = linear_probe(backbone, data, 5, 0, settings)
    ranks = [(h["validation_accuracy"], -h["validation_nll"]) for h in outcome.history]
    assert [h["step"] for h in outcome.history] == [5, 10, 15, 20, 25, 30, 35, 40]
    chosen = outcome.chosen
    assert (chosen["validation_accuracy"], -chosen["validation_nll"]) == max(ranks)
    labels = data.labels[data.split(5, 0).validation].numpy()
    # what is returned is the model of that moment, not of the last one
    accuracy = (outcome.probabilities["validation"].argmax(1) == labels).mean()
    assert accuracy == pytest.approx(chosen["validation_accuracy"])


def test_the_prompted_mapping_is_the_one_its_probabilities_use(data, backbone):
    settings = VisualPrompting(**PROMPT, mapping="iterative")
    outcome = visual_prompting(backbone, data, "all", 0, settings)
    theta, mapping = outcome.artefact["prompt.theta"], outcome.artefact["mapping"]
    test = data.target.test[:16]
    canvas = torch.sigmoid(theta).expand(16, -1, -1, -1).clone()
    canvas[..., 6:26, 6:26] = data.pictures(20)[test].float() / 255
    with torch.no_grad():
        expected = backbone(canvas)[:, mapping].softmax(1).numpy()
    np.testing.assert_allclose(outcome.probabilities["test"][:16], expected, rtol=1e-4, atol=1e-6)


def test_the_probe_comes_close_to_logistic_regression(data, backbone):
    settings = LinearProbe(steps=600, batch=128, learning_rates=[0.05], evaluations=1, size=32, inner=None)
    outcome = linear_probe(backbone, data, "all", 0, settings)
    split, features = data.split("all", 0), data.features(backbone, 32).numpy()
    labels = data.labels.numpy()
    oracle = LogisticRegression(C=1e4, max_iter=2000).fit(features[split.train], labels[split.train])
    ours = outcome.probabilities["test"].argmax(1)
    agreement = (ours == oracle.predict(features[split.test])).mean()
    assert agreement > 0.9


def test_frozen_features_are_computed_once(data, backbone, monkeypatch):
    calls = []
    original = Backbone.features
    monkeypatch.setattr(Backbone, "features", lambda self, x: calls.append(len(x)) or original(self, x))
    for budget in (1, 5):
        for seed in (0, 1):
            linear_probe(backbone, data, budget, seed, PROBE)
    assert sum(calls) == len(data.labels)


def test_a_prompt_that_changes_no_picture_yet_gives_the_features_in_the_same_pass(data, backbone, monkeypatch):
    expected = data.features(backbone, 32)
    other = TransferData("faces", 5, data.runtime)
    monkeypatch.setattr(Backbone, "features", lambda self, pictures: pytest.fail("a second pass"))
    with backbone.classifier.register_forward_pre_hook(lambda _, seen: seen[0].round()):  # as of rounded activations
        other.source_logits(backbone, AddedPrompt(32, {}, lambda _: torch.zeros(3, 32, 32), None, torch.Generator()))
    assert torch.equal(other.features(backbone, 32), expected)
    grey = TransferData("faces", 5, data.runtime)
    grey.source_logits(backbone, BorderPrompt(inner=20, canvas=32))
    with pytest.raises(pytest.fail.Exception, match="a second pass"):
        grey.features(backbone, 32)


def test_fine_tuning_leaves_batchnorm_alone_that_is_folded_into_its_convolution(data, backbone):
    first, second, *_ = (module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    first.running_var.sub_(first.eps), second.running_var.fill_(0.5)
    artefact = fine_tuning(backbone, data, 2, 0, TUNE).artefact
    names = {module: name for name, module in backbone.named_modules()}
    moved = [not torch.equal(artefact[f"backbone.{names[n]}.running_var"], n.running_var) for n in (first, second)]
    assert moved == [False, True]


def test_fine_tuning_keeps_pruned_weights_at_exactly_zero(data, backbone):
    mask = magnitude(backbone.prunable, 0.8)
    mask.apply_(backbone.prunable)
    before = state_of(backbone)
    outcome = fine_tuning(backbone, data, "all", 0, TUNE, constrain=mask.constrain)
    assert same(state_of(backbone), before)
    free = fine_tuning(backbone, data, "all", 0, TUNE)
    for name, kept in mask.items():
        tuned = free.artefact[f"backbone.model.{name}"]
        assert (tuned[~kept] != 0).any()  # without the mask they would come back
        owner, _, _ = name.rpartition(".")
        raw = outcome.artefact[f"backbone.model.{owner}.parametrizations.weight.original"]
        assert torch.equal(raw[~kept], torch.zeros_like(raw[~kept]))


def test_fine_tuning_of_a_quantized_backbone_stays_on_its_grid(data, backbone):
    bits = dict.fromkeys(backbone.prunable, 4)

    def constrain(model):
        quantization.constrain(model, bits)

    tuned = copy.deepcopy(backbone).requires_grad_(True)
    constrain(tuned.model)
    for weight in tuned.prunable.values():
        assert len(weight.detach()[0].unique()) <= 15
    outcome = fine_tuning(backbone, data, 3, 0, TUNE, constrain=constrain)
    assert outcome.status == "ok"


def test_a_run_that_leaves_the_finite_numbers_is_a_result(data, backbone):
    settings = LinearProbe(steps=5, batch=8, learning_rates=[0.01], evaluations=1, size=32, inner=None)
    with torch.no_grad():
        backbone.model.bn1.weight.fill_(float("nan"))
    outcome = linear_probe(backbone, TransferData("faces", 10, data.runtime), 2, 0, settings)
    assert outcome.status == "diverged"
    assert "step 1 of 5" in outcome.reason
    assert outcome.probabilities == {}


def test_batches_are_even_and_every_example_is_seen_before_the_next_shuffle():
    examples = Examples(torch.arange(11), torch.arange(11))
    seen = list(islice(batches(examples, 8, torch.Generator().manual_seed(0)), 7))
    assert [len(batch) for batch in seen] == [6, 5, 6, 5, 6, 5, 6]
    for first, second in ((0, 1), (2, 3), (4, 5)):
        assert sorted(torch.cat([seen[first].labels, seen[second].labels]).tolist()) == list(range(11))
