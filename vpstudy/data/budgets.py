"""The split protocol: a fixed test set, a validation set of fixed size, training budgets nested per class."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from vpstudy.runtime import seed_for

if TYPE_CHECKING:
    from vpstudy.data.target import Target


@dataclass(frozen=True)
class Split:
    """Indices (int64) into a target's pictures, grouped by class but for the test; no two parts share one."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(target: Target, budget: int | str, validation_per_class: int, seed: int) -> Split:
    """Split a target for one budget (pictures per class, or "all") and one seed.

    The pictures outside the test set are shuffled per class by the seed. The first `validation_per_class`
    choose (checkpoints, hyperparameters); the next `budget` train. So test is the same for every seed,
    validation the same for every budget, and a smaller budget is a part of each larger one, as in the
    original (arXiv 2308.14969), which has no validation set. "all" is every picture that remains; classes may
    then differ in number.

    Raises ValueError for a budget, a validation size or a seed that makes no sense, and for a class with too
    few pictures, naming it.
    """
    if budget != "all":
        _require("budget", budget, 1, ' or "all"')
    _require("validation_per_class", validation_per_class, 0)
    _require("seed", seed, 0)
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


def _require(name: str, value: object, lowest: int, alternative: str = "") -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {lowest}{alternative}")
