"""Label mappings against a literal reading of the greedy rule."""

import time

import numpy as np
import pytest
import torch

from vpstudy.prompts.label_mapping import (
    bayesian_mapping,
    bayesian_mapping_plus,
    count_matrix,
    frequency_mapping,
    random_mapping,
)


def greedy_by_the_rule(counts: np.ndarray) -> np.ndarray:
    """Search all free entries each time: the largest, of the lowest source, of the lowest target class."""
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
        source, target = max(free, key=lambda entry: counts[entry])  # max returns the first of equals
        mapping[target] = source
    return np.array([mapping[target] for target in range(n_target)])


def test_frequency_mapping_by_hand():
    counts = np.array([[9, 8, 0], [7, 1, 0], [0, 6, 0], [0, 0, 0]])
    # 9: source 0, target 0; then 6: source 2, target 1; source 1 is what is left for target 2
    assert frequency_mapping(counts).tolist() == [0, 2, 1]


def test_ties_go_to_the_lowest_source_class_then_the_lowest_target_class():
    assert frequency_mapping(np.array([[0, 0], [5, 5], [5, 0]])).tolist() == [1, 0]
    assert frequency_mapping(np.array([[0, 5], [5, 5], [5, 5]])).tolist() == [1, 0]
    assert frequency_mapping(np.array([[3, 3], [3, 3]])).tolist() == [0, 1]


def test_without_any_count_the_mapping_is_the_identity():
    assert frequency_mapping(np.zeros((6, 4), dtype=int)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("largest", [1, 2, 5, 100])
@pytest.mark.parametrize(("n_source", "n_target"), [(1, 1), (5, 5), (9, 4), (12, 7)])
def test_frequency_mapping_agrees_with_the_rule(n_source, n_target, largest):
    rng = np.random.default_rng(largest)
    for _ in range(40):
        counts = rng.integers(0, largest + 1, (n_source, n_target)) * rng.integers(0, 2, (n_source, n_target))
        np.testing.assert_array_equal(frequency_mapping(counts), greedy_by_the_rule(counts))


def test_frequency_mapping_of_shares_agrees_with_the_rule():
    counts = np.random.default_rng(0).dirichlet(np.ones(6), 8)
    np.testing.assert_array_equal(frequency_mapping(counts), greedy_by_the_rule(counts))


def test_frequency_mapping_is_one_to_one():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mapping = frequency_mapping(rng.poisson(0.3, (30, 20)))
        assert mapping.dtype == np.int64 and mapping.shape == (20,)
        assert len(set(mapping.tolist())) == 20 and mapping.min() >= 0 and mapping.max() < 30


def test_renaming_classes_renames_the_mapping_if_there_are_no_ties():
    rng = np.random.default_rng(2)
    counts = rng.permutation(15 * 6).reshape(15, 6)
    sources, targets = rng.permutation(15), rng.permutation(6)
    renamed = frequency_mapping(counts[sources][:, targets])
    np.testing.assert_array_equal(sources[renamed], frequency_mapping(counts)[targets])


def test_frequency_mapping_takes_tensors_and_unsigned_counts():
    counts = np.random.default_rng(3).integers(0, 9, (10, 5))
    expected = greedy_by_the_rule(counts)
    for given in (torch.from_numpy(counts), torch.from_numpy(counts).float(), counts.astype(np.uint8)):
        np.testing.assert_array_equal(frequency_mapping(given), expected)
    np.testing.assert_array_equal(frequency_mapping(counts > 4), greedy_by_the_rule(counts > 4))


def test_frequency_mapping_is_fast_at_the_size_of_imagenet():
    counts = np.random.default_rng(4).poisson(1.0, (1000, 100))
    started = time.process_time()
    frequency_mapping(counts)
    assert time.process_time() - started < 1.0  # 0.03 s on an idle core; a search per target class takes 10 s


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((3, 4)), "4 target classes for 3 source classes"),
        (np.zeros((3, 0)), "0 target classes"),
        (np.zeros(3), "shape"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.array([[1.0, -1.0], [0.0, 0.0]]), "-1.0"),
        (np.array([[1.0, np.nan], [0.0, 0.0]]), "nan"),
        (np.array([[1.0, np.inf], [0.0, 0.0]]), "inf"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        frequency_mapping(counts)


def test_count_matrix_agrees_with_a_loop():
    rng = np.random.default_rng(5)
    predictions, labels = rng.integers(0, 7, 200), rng.integers(0, 4, 200)
    expected = np.zeros((7, 4), dtype=int)
    for prediction, label in zip(predictions, labels, strict=True):
        expected[prediction, label] += 1
    for given in ((predictions, labels), (torch.from_numpy(predictions), torch.from_numpy(labels))):
        counts = count_matrix(*given, 7, 4)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, expected)


def test_count_matrix_has_rows_for_classes_never_seen():
    counts = count_matrix([0, 0], [1, 1], 3, 2)
    assert counts.tolist() == [[0, 2], [0, 0], [0, 0]]
    assert count_matrix(np.zeros(0, int), np.zeros(0, int), 3, 2).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0, 3], [0, 1], "source_predictions run from 0 to 3; allowed are 0 to 2"),
        ([0, -1], [0, 1], "source_predictions run"),
        ([0, 1], [0, 2], "labels run from 0 to 2; allowed are 0 to 1"),
        ([0.0, 1.0], [0, 1], "integers"),
        ([[0, 1]], [[0, 1]], "shape"),
        ([0, 1, 2], [0, 1], "3 source_predictions, 2 labels"),
    ],
)
def test_bad_predictions_or_labels_are_refused(predictions, labels, message):
    with pytest.raises(ValueError, match=message):
        count_matrix(np.array(predictions), np.array(labels), 3, 2)


def test_random_mapping_is_one_to_one_and_set_by_its_seed():
    mapping = random_mapping(50, 10, seed=0)
    assert mapping.dtype == np.int64 and mapping.shape == (10,)
    assert len(set(mapping.tolist())) == 10 and mapping.min() >= 0 and mapping.max() < 50
    np.testing.assert_array_equal(mapping, random_mapping(50, 10, seed=0))
    assert (mapping != random_mapping(50, 10, seed=1)).any()
    assert sorted(random_mapping(6, 6, seed=0).tolist()) == list(range(6))


def test_random_mapping_uses_every_source_class_alike():
    counts = np.bincount(np.concatenate([random_mapping(5, 2, seed) for seed in range(1000)]), minlength=5)
    assert (abs(counts - 400) < 80).all()  # 5 standard deviations


def test_random_mapping_refuses_more_targets_than_sources():
    with pytest.raises(ValueError, match="11 target classes for 10 source classes"):
        random_mapping(10, 11, seed=0)


def test_the_bayesian_mapping_is_that_of_a_loop():
    counts = np.array([[5, 1, 0], [0, 3, 3], [2, 0, 0], [0, 0, 0]])
    mapping = bayesian_mapping(counts, laplace=1.0)
    shares = np.zeros((4, 3))
    for s in range(4):
        for t in range(3):
            shares[s, t] = counts[s, t] / (counts[s].sum() + 1.0)
    for t in range(3):
        np.testing.assert_allclose(mapping[:, t], shares[:, t] / shares[:, t].sum(), rtol=1e-6)


def test_the_bayesian_mapping_of_clear_counts_is_one_to_one():
    counts = np.array([[0, 9], [0, 0], [9, 0]])
    assert bayesian_mapping(counts).tolist() == [[0, 1], [0, 0], [1, 0]]


def test_a_target_without_any_count_weighs_all_source_classes_alike():
    assert bayesian_mapping(np.array([[3, 0], [1, 0]]))[:, 1].tolist() == [0.5, 0.5]


def test_the_soft_mapping_counts_the_likeliest_classes_only():
    draw = torch.Generator().manual_seed(0)
    probabilities = torch.randn(30, 12, generator=draw).softmax(1)
    labels = torch.randint(10, (30,), generator=draw)
    counts = np.zeros((12, 10))
    for row, label in zip(probabilities, labels.tolist(), strict=True):
        counts[row.argmax(), label] += row.max().item()  # floor(0.15 * 10) = 1 class a picture
    mapping = bayesian_mapping_plus(probabilities, labels, 10)
    np.testing.assert_allclose(mapping, bayesian_mapping(counts), rtol=1e-5)
    certain = torch.nn.functional.one_hot(probabilities.argmax(1), 12).float()
    hard = bayesian_mapping(count_matrix(probabilities.argmax(1), labels, 12, 10))
    assert torch.equal(bayesian_mapping_plus(certain, labels, 10), hard)


def test_bayesian_mappings_refuse_nonsense():
    with pytest.raises(ValueError, match="laplace is 0"):
        bayesian_mapping(np.ones((2, 2)), laplace=0)
    with pytest.raises(ValueError, match="matrix"):
        bayesian_mapping(np.array([[-1.0, 2.0]]))
    with pytest.raises(ValueError, match="2 rows of probabilities, 1 labels"):
        bayesian_mapping_plus(torch.ones(2, 3), torch.zeros(1, dtype=torch.long), 2)


def test_the_iterative_mapping_finds_the_classes_a_model_confuses_with_targets():
    """Target t looks like source class twin[t] most of the time."""
    rng = np.random.default_rng(6)
    twin = np.array([8, 2, 5, 0])
    labels = rng.integers(0, 4, 400)
    predictions = np.where(rng.random(400) < 0.6, twin[labels], rng.integers(0, 10, 400))
    np.testing.assert_array_equal(frequency_mapping(count_matrix(predictions, labels, 10, 4)), twin)
