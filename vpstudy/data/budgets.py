"""The split protocol: a fixed test set, a validation set of fixed size, training budgets nested per class."""

from dataclasses import dataclass

import numpy as np

from vpstudy.data.target import Target
from vpstudy.runtime import seed_for


@dataclass(frozen=True)
class Split:
    """Disjoint indices (int64) into a target's pictures; training and validation are grouped by class."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(target: Target, budget: int | str, validation_per_class: int, seed: int) -> Split:
    """Split a target for one budget (pictures per class, or "all") and one seed.

    The seed shuffles the pictures outside the test set, class by class. The first `validation_per_class` are the
    validation set (for checkpoints and hyperparameters), the next `budget` the training set; "all" is every picture
    that remains. So the test set is the same for every seed, the validation set the same for every budget, and each
    budget contains the smaller ones, as in arXiv 2308.14969, which has no validation set.

    Raises ValueError for a class with too few pictures, naming it.
    """
    labels = np.asarray(target.labels)
    pool = np.setdiff1d(np.arange(len(labels)), target.test)
    draw = np.random.default_rng(seed_for("split", target.name, seed))
    train, validation = [], []
    for k, class_name in enumerate(target.class_names):
        members = draw.permutation(pool[labels[pool] == k])
        left = len(members) - validation_per_class
        if left < (1 if budget == "all" else budget):
            raise ValueError(
                f"target {target.name}, class {class_name!r}: {len(members)} pictures outside the test set,"
                f" validation_per_class={validation_per_class} leaves {max(left, 0)} for training, but"
                f" budget={budget} was asked; lower the budget or validation_per_class"
            )
        validation.append(members[:validation_per_class])
        train.append(members[validation_per_class:] if budget == "all" else members[validation_per_class:][:budget])
    return Split(np.concatenate(train), np.concatenate(validation), np.asarray(target.test))
