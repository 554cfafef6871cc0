"""Checks of what is in the pictures of targets, in seconds and before anything runs. Loads torch."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
import torch

from studies.parameters import Parameters
from vpstudy import atomic, paths
from vpstudy.data import decoding, fetched, files, splits
from vpstudy.data.class_names import words
from vpstudy.data.origin import Origin, origin_of
from vpstudy.data.originals import Originals
from vpstudy.data.registry import EMBEDDED
from vpstudy.data.target import load
from vpstudy.settings import refuse

LOOKED_AT = 5_000  # most pictures of a target that are decoded here; the stage pictures decodes them all
Sizes = dict[str, tuple[int, int]]  # pictures of a class in the pool and in the test set
# Each study, the key of its budgets, the section of its validation_per_class, and whether it runs.
NEEDS: tuple[tuple[str, str, str, Callable[[Parameters], Any]], ...] = (
    ("hidden_cost", "hidden_cost.settings.budgets", "hidden_cost", lambda p: p.backbones),
    (
        "hidden_cost",
        "hidden_cost.settings.fine_tuning_budgets",
        "hidden_cost",
        lambda p: p.backbones and p.hidden_cost.settings.fine_tuning_compressions,
    ),
    ("across", "across.settings.budget", "hidden_cost", lambda p: p.across.axes.backbones),
    ("vpns", "vpns.settings.budget", "vpns", lambda p: p.vpns.axes.backbones),
    ("qprompt", "qprompt.settings.shots", "qprompt", lambda p: p.qprompt.axes.backbones),
    ("multimodal", "qprompt.settings.shots", "qprompt", lambda p: p.multimodal.axes.backbones),
    ("compressed_towers", "qprompt.settings.shots", "qprompt", lambda p: p.compressed_towers.axes.backbones),
    ("other_pictures", "qprompt.settings.shots", "qprompt", lambda p: p.other_pictures.axes.backbones),
    ("few_shot", "few_shot.settings.shots", "qprompt", lambda p: p.few_shot.axes.backbones),
)


def check(p: Parameters, file: str, this_machine: bool = True) -> list[str]:
    """What is left out of the pictures, a line for each target. Nothing is trained or downloaded.

    Of pictures that are not here only a split file is read, if there is one. Without `this_machine`, cells run on
    others, whose devices are not known. Raises ParameterError with a line for each problem.
    """
    problems, notes, sizes = [], [], {}
    texts = (p.qprompt, p.multimodal, p.few_shot, p.other_pictures, p.compressed_towers)
    in_texts = {name for section in texts if section.axes.backbones for name in section.axes.targets}
    if p.other_pictures.axes.backbones:
        in_texts |= {*p.other_pictures.settings.others}
    if p.clips:
        in_texts |= {*p.locked_tuning.measured_on}
    if this_machine and p.execution.device == "cuda" and not torch.cuda.is_available():
        problems.append("execution.device: 'cuda': torch sees no CUDA device on this machine; give auto or cpu")
    for alias in p.fetched:
        origin = origin_of(alias, p.pictures)
        if origin.torchvision or origin.missing(alias):
            if splits.path_of(alias).exists():
                sizes[alias] = splits.sizes(splits.path_of(alias))
            continue
        try:
            originals = fetched.find(alias, origin)
        except ValueError as error:
            problems.append(str(error))
            continue
        if originals.left_out:
            notes.append(f"target {alias}: left out are {files.counted(originals.left_out)}")
        ready = None
        try:
            ready = fetched.split_up(alias, origin, originals)
            sizes[alias] = _sizes(ready)
            if alias in in_texts:
                _refuse_twins(ready.class_names)
        except ValueError as error:
            problems.append(str(error))
        problems += _unreadable(alias, origin, originals, ready, notes)
    problems += dict.fromkeys(_too_few(p, sizes))
    if problems:
        raise refuse(file, problems)
    return notes


def _unreadable(
    alias: str, origin: Origin, originals: Originals, ready: fetched.Prepared | None, notes: list[str]
) -> Iterator[str]:
    """Damaged pictures or a damaged zip, unless the pixels of `ready` have been read before."""
    seen = paths.PICTURES / f"{alias}.seen"
    if ready and seen.exists() and seen.read_text() == ready.key:
        return
    chosen = ready.partition.chosen if ready else np.arange(len(originals.names))
    if len(chosen) > LOOKED_AT:
        notes.append(f"target {alias}: {LOOKED_AT:,} of {len(chosen):,} pictures were looked at")
        chosen = np.sort(np.random.default_rng(0).choice(chosen, LOOKED_AT, replace=False))
    for looks in (lambda: fetched.verify(origin), lambda: decoding.look(originals, chosen, alias)):
        try:
            looks()
        except ValueError as error:
            yield str(error)
            ready = None
    if ready:
        with suppress(OSError):  # a checkout that may not be written
            atomic.write_text(seen, ready.key)


def _refuse_twins(class_names: list[str]) -> None:
    from vpstudy.models.text_tower import tokenize  # loads open_clip
    from vpstudy.prompts.text import refuse_twins

    refuse_twins(class_names, tokenize(words(class_names)))


def _sizes(ready: fetched.Prepared) -> Sizes:
    labels, n = ready.originals().labels, len(ready.class_names)
    counts = (np.bincount(labels[part], minlength=n).tolist() for part in (ready.partition.pool, ready.partition.test))
    return dict(zip(ready.class_names, zip(*counts, strict=True), strict=True))


def _too_few(p: Parameters, known: dict[str, Sizes]) -> Iterator[str]:
    """Classes with fewer pictures than the largest budget and validation need."""
    for study, budget_key, section, runs in NEEDS:
        key = f"{section}.settings.validation_per_class"
        budgets, held_out = _value(p, budget_key), _value(p, key)
        budgets = budgets if isinstance(budgets, list) else [budgets]
        budget = max(budgets, key=_least)
        need = held_out + _least(budget)
        for alias in _value(p, f"{study}.axes.targets") if runs(p) else ():
            sizes = _embedded(alias) if alias in EMBEDDED else known.get(alias, {})
            few = sorted((pool, name, test) for name, (pool, test) in sizes.items() if pool < need)
            if few:
                named = [f"{name!r} has {pool} and {test} in the test set" for pool, name, test in few]
                more = f", and {len(few) - 5} more" if len(few) > 5 else ""
                yield (
                    f"{budget_key}: {budget}: with {key} ({held_out}) it takes {need} pictures of a class outside the"
                    f" test set, and of {alias} {', '.join(named[:5])}{more}; lower one of the two, or add pictures"
                )


def _value(p: Parameters, key: str) -> Any:
    return reduce(getattr, key.split("."), p)


def _least(budget: int | str) -> int:
    """Training pictures of a class without which a budget cannot be."""
    return 1 if budget == "all" else int(budget)


def _embedded(alias: str) -> Sizes:
    target = load(alias, 1)
    tests = np.bincount(target.labels[target.test], minlength=len(target.class_names))
    pools = np.bincount(target.labels) - tests
    return dict(zip(target.class_names, zip(pools.tolist(), tests.tolist(), strict=True), strict=True))
