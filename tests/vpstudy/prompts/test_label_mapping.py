"""Label mappings against a literal reading of their rules."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from vpstudy import paths
from vpstudy.prompts.label_mapping import (
    MAPPINGS,
    bayesian_mapping,
    count_matrix,
    frequency_mapping,
    random_mapping,
    soft_counts,
)


def greedy_by_the_rule(counts: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Search all free entries each time: largest count, then mean logit, then lowest source, then target class."""
    n_source, n_target = counts.shape
    mapping = {}
    while len(mapping) < n_target:
        free = [
            (source, target)
            for source in range(n_source)
            if source not in mapping.values()
            for target in range(n_target)
            if target not in mapping
        ]
        source, target = max(free, key=lambda entry: (counts[entry], logits[entry]))  # max returns the first of equals
        mapping[target] = source
    return np.array([mapping[target] for target in range(n_target)])


def test_frequency_mapping_by_hand():
    counts = np.array([[9, 8, 0], [7, 1, 0], [0, 6, 0], [0, 0, 0]])
    # 9: source 0, target 0; then 6: source 2, target 1; source 1 is what is left for target 2
    assert frequency_mapping(counts).tolist() == [0, 2, 1]


@pytest.mark.parametrize("largest", [0, 1, 2, 5, 100])  # few distinct counts make many ties
@pytest.mark.parametrize(("n_source", "n_target"), [(1, 1), (5, 5), (9, 4), (12, 7)])
def test_frequency_mapping_agrees_with_the_rule(n_source, n_target, largest):
    rng = np.random.default_rng(largest)
    for _ in range(40):
        counts = rng.integers(0, largest + 1, (n_source, n_target)) * rng.integers(0, 2, (n_source, n_target))
        mapping = frequency_mapping(counts)
        np.testing.assert_array_equal(mapping, greedy_by_the_rule(counts, np.zeros(counts.shape)))
        assert mapping.dtype == np.int64 and len(set(mapping.tolist())) == n_target
        logits = rng.integers(0, 3, counts.shape).astype(float)  # tied, too
        np.testing.assert_array_equal(frequency_mapping(counts, logits), greedy_by_the_rule(counts, logits))


@pytest.mark.parametrize("name", ["frequency", "iterative", "bayesian", "bayesian_plus"])
def test_a_class_that_nothing_speaks_for_has_no_evidence(name):
    """A backbone that answers a constant, and a class without a picture: their source classes mean nothing."""
    labels = torch.tensor([0, 0, 1])
    logits = torch.tensor([[0.0, 0, 9, 3, 1]]).expand(3, 5)
    mapping, evidence = MAPPINGS[name].estimate(logits, labels, 3)
    if name == "bayesian_plus":  # counts probabilities, not answers, of as many pictures as a class has
        np.testing.assert_allclose(evidence, logits[0].softmax(0)[2] * torch.tensor([2, 1, 0]), rtol=1e-6)
    elif name == "bayesian":  # many source classes, so both classes may have the same
        assert evidence.tolist() == [2, 1, 0]
    else:
        assert evidence.tolist() == [2, 0, 0]
        assert mapping.tolist() == [2, 3, 0]  # the next by mean logit; then, without a picture, the lowest that is free


def test_the_linear_output_learns_from_every_picture():
    _, evidence = MAPPINGS["linear"].estimate(torch.zeros(3, 5), torch.tensor([0, 0, 1]), 3)
    assert evidence.tolist() == [2, 1, 0]


def test_renaming_classes_renames_the_mapping_if_there_are_no_ties():
    rng = np.random.default_rng(2)
    counts = rng.permutation(15 * 6).reshape(15, 6)
    sources, targets = rng.permutation(15), rng.permutation(6)
    renamed = frequency_mapping(counts[sources][:, targets])
    np.testing.assert_array_equal(sources[renamed], frequency_mapping(counts)[targets])


@pytest.mark.parametrize("shape", [(3, 4), (3, 0)])
def test_more_targets_than_sources_are_refused(shape):
    for make in (lambda: frequency_mapping(np.zeros(shape)), lambda: random_mapping(*shape, seed=0)):
        with pytest.raises(ValueError, match=f"{shape[1]} target classes for 3 source classes"):
            make()


def test_count_matrix_agrees_with_a_loop():
    rng = np.random.default_rng(5)
    predictions, labels = rng.integers(0, 6, 200), rng.integers(0, 4, 200)  # source class 6 is never seen
    expected = np.zeros((7, 4), dtype=int)
    for prediction, label in zip(predictions, labels, strict=True):
        expected[prediction, label] += 1
    counts = count_matrix(torch.from_numpy(predictions), torch.from_numpy(labels), 7, 4)
    np.testing.assert_array_equal(counts, expected)


def test_random_mapping_is_one_to_one_and_set_by_its_seed():
    mapping = random_mapping(50, 10, seed=0)
    assert mapping.dtype == np.int64 and len(set(mapping.tolist())) == 10
    np.testing.assert_array_equal(mapping, random_mapping(50, 10, seed=0))
    counts = np.bincount(np.concatenate([random_mapping(5, 2, seed) for seed in range(1000)]), minlength=5)
    assert (abs(counts - 400) < 80).all()  # 5 standard deviations


def test_the_bayesian_mapping_is_that_of_a_loop():
    counts = torch.tensor([[5, 1, 0, 0], [0, 3, 3, 0], [2, 0, 0, 0], [0, 0, 0, 0]]).double()
    mapping = bayesian_mapping(counts)
    for t in range(3):
        shares = torch.stack([counts[s, t] / (counts[s].sum() + 1) for s in range(4)])
        torch.testing.assert_close(mapping[:, t].double(), shares / shares.sum(), rtol=1e-6, atol=0)
    assert mapping[:, 3].tolist() == [0.25] * 4  # of a class without any count
    assert bayesian_mapping(torch.tensor([[0.0, 9], [0, 0], [9, 0]])).tolist() == [[0, 1], [0, 0], [1, 0]]


def test_soft_counts_are_of_the_likeliest_classes_only():
    draw = torch.Generator().manual_seed(0)
    probabilities = torch.randn(30, 12, generator=draw).softmax(1)
    labels = torch.randint(10, (30,), generator=draw)
    counts = np.zeros((12, 10))
    for row, label in zip(probabilities, labels.tolist(), strict=True):
        counts[row.argmax(), label] += row.max().item()  # floor(0.15 * 10) = 1 class a picture
    np.testing.assert_allclose(soft_counts(probabilities, labels, 10), counts, rtol=1e-6)
    certain = torch.nn.functional.one_hot(probabilities.argmax(1), 12).float()
    hard = count_matrix(probabilities.argmax(1), labels, 12, 10)
    np.testing.assert_array_equal(soft_counts(certain, labels, 10), hard)


@pytest.mark.parametrize("name", [name for name, mapping in MAPPINGS.items() if mapping.estimate])
def test_every_mapping_finds_the_classes_that_a_model_takes_targets_for(name):
    """Target t looks like source class twin[t] most of the time."""
    rng, twin = np.random.default_rng(6), np.array([8, 2, 5, 0])
    labels = rng.integers(0, 4, 400)
    logits = torch.full((400, 10), -4.0)
    logits[np.arange(400), np.where(rng.random(400) < 0.6, twin[labels], rng.integers(0, 10, 400))] = 4.0
    estimate, evidence = MAPPINGS[name].estimate(logits, torch.from_numpy(labels), 4)
    estimate = torch.as_tensor(estimate)
    assert (evidence > 40).all()
    assert estimate.shape == ((10, 4) if MAPPINGS[name].weighted else (4,))
    assert (estimate.argmax(0) if MAPPINGS[name].weighted else estimate).tolist() == twin.tolist()


def test_the_registry_is_free_of_torch():
    code = "import sys, vpstudy.prompts.label_mapping; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0
