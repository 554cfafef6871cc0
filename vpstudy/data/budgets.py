"""Split protocol: fixed test set, validation set of fixed size, training budgets nested per class."""

from dataclasses import dataclass

import numpy as np

from vpstudy.data.target import Target
from vpstudy.runtime import seed_for


@dataclass(frozen=True)
class Split:
    """Disjoint int64 indices into a target's pictures; training and validation are grouped by class."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(target: Target, budget: int | str, validation_per_class: int, seed: int) -> Split:
    """Split a target for one budget (pictures per class, or "all") and one seed.

    The seed shuffles each class outside the fixed test set. The first `validation_per_class` pictures are for
    validation, the next `budget` (or all others) for training. Budgets are nested as in arXiv 2308.14969, which has no
    validation set, and share one validation set per seed. Raises ValueError naming a class with too few pictures.
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
