from itertools import pairwise

import numpy as np
import pytest
import torch

from vpstudy.data.budgets import split
from vpstudy.data.target import Target


@pytest.fixture
def target() -> Target:
    """Three classes of 30, 40 and 50 pictures; the first 5 of each are the test set."""
    labels = np.repeat([0, 1, 2], [30, 40, 50])
    test = np.concatenate([np.flatnonzero(labels == k)[:5] for k in range(3)])
    pictures = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    return Target("toy", ["a", "b", "c"], pictures, torch.from_numpy(labels), test, "")


def per_class(target: Target, indices: np.ndarray) -> list[int]:
    return np.bincount(target.labels[indices], minlength=3).tolist()


def test_sizes_and_disjointness(target):
    parts = split(target, 10, 8, seed=0)
    assert per_class(target, parts.train) == [10, 10, 10]
    assert per_class(target, parts.validation) == [8, 8, 8]
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(np.unique(together)) == len(together)
    assert parts.train.dtype == np.int64


def test_budgets_are_nested_and_share_validation_and_test(target):
    parts = [split(target, budget, 8, seed=3) for budget in (1, 2, 10, 17, "all")]
    for small, large in pairwise(parts):
        assert set(small.train) < set(large.train)
    assert np.array_equal(np.sort(np.concatenate([parts[-1].train, parts[-1].validation, target.test])), np.arange(120))
    for part in parts:
        assert np.array_equal(part.validation, parts[0].validation)
        assert np.array_equal(part.test, target.test)


def test_the_seed_decides_train_and_validation_but_not_test(target):
    first, again, other = (split(target, 5, 8, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.train, again.train) and np.array_equal(first.validation, again.validation)
    assert set(first.train) != set(other.train) and set(first.validation) != set(other.validation)
    assert np.array_equal(first.test, other.test)


def test_the_draw_never_changes(target):
    # Literal indices: another process, or a later version, must draw the same pictures.
    assert split(target, 2, 1, seed=0).train.tolist() == [17, 24, 69, 50, 119, 112]


def test_a_class_with_too_few_pictures_is_named(target):
    with pytest.raises(ValueError, match=r"class 'a': 25 pictures .* leaves 17 for training, but budget=18"):
        split(target, 18, 8, seed=0)
    with pytest.raises(ValueError, match=r"class 'a': .* leaves 0 for training, but budget=all"):
        split(target, "all", 25, seed=0)
