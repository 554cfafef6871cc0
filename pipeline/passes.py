"""Forward passes of single pictures through the backbone that a cell takes, by the side of the picture, px."""

import math
from collections import Counter

from pipeline.sizes import Size
from studies.hidden_cost.settings import HiddenCost, Schedule, VisualPrompting
from studies.parameters import Parameters
from vpstudy.compression.recovery import SUFFIX
from vpstudy.training.controls import CONTROLS
from vpstudy.training.mask_search.methods import CONTROLS as PRUNING_CONTROLS
from vpstudy.training.mask_search.methods import METHODS
from vpstudy.training.mask_search.settings import Vpns

Passes = Counter[int]
PROMPTED = ("prompted", "prompt_only", "prompt_after")  # controls that are measured with a prompt and without
STEP = 3  # of a picture in a training step: one forward, and two for the backward pass


def of_compress(parameters: Parameters, compression: str) -> Passes:
    """Recovery, where dense answers, too; and the pictures that ranges are measured on."""
    recovery = parameters.recovery
    if recovery is not None and compression.partition("-")[0].endswith(SUFFIX):
        return Counter({recovery.size: recovery.steps * recovery.batch * (STEP + 1)})
    side = recovery.size if recovery else parameters.source.size
    return Counter({side: parameters.compressing.pictures})


def of_transfer(settings: HiddenCost, compression: str, size: Size) -> Passes:
    """Every arm: each seed, and the first one at every learning rate."""
    seen: Passes = Counter()
    largest = max(settings.budgets, key=lambda budget: math.inf if budget == "all" else budget)
    prompting, probe, tuning = settings.visual_prompting, settings.linear_probe, settings.fine_tuning
    seen[probe.size] += size.pool + size.test  # features, once
    for budget in settings.budgets:
        seen[prompting.canvas] += _runs(settings, prompting) * _prompted(settings, prompting, budget, size)
    if settings.fine_tuning_compressions == "all" or compression in settings.fine_tuning_compressions:
        for budget in settings.fine_tuning_budgets:
            seen[tuning.size] += _runs(settings, tuning) * _trained(settings, tuning, budget, size)
    for name in settings.controls if compression in settings.control_compressions else []:
        control = CONTROLS[name]
        if control.method == "linear_probe":
            seen[probe.size] += size.pool + size.test
            continue
        for budget in settings.budgets if control.every_budget else [largest]:
            change = dict(control.change)
            if change.get("steps") == "epochs":
                steps = prompting.epochs * math.ceil(_train(settings, budget, size) / prompting.batch)
                change = {"steps": steps, "evaluations": min(prompting.evaluations, steps)}
            changed = prompting.model_copy(update=change)
            seen[prompting.canvas] += _runs(settings, prompting) * _prompted(settings, changed, budget, size)
    return seen


def of_prune(v: Vpns, pruner: str, size: Size) -> Passes:
    """Every arm at its sparsities: at most so many.

    A control is counted as tuned for all steps, and weights that IMP and OMP train for several sparsities for each.
    """
    method = METHODS[pruner]
    sparsities = {"dense": [0.0], "channels": v.channel_ratios, "ablation": v.control_sparsities}.get(
        method.role, v.sparsities
    )
    held_out = size.test + v.validation_per_class * size.classes
    pool = size.pool - v.validation_per_class * size.classes
    train = min(pool, pool if v.budget == "all" else v.budget * size.classes)
    batch = train / math.ceil(train / v.batch)

    def measured(prompted: bool) -> int:
        return held_out * (2 if prompted else 1) + 2 * train  # which maps labels, and measures BatchNorm

    main = measured(method.tuning_prompt)
    tried, seeds = len(v.seeds) + len(v.factors) - 1, len(v.seeds)
    total = 0.0
    for sparsity in sparsities:
        total += tried * (STEP * v.steps * batch + main)
        if pruner in ("omp", "imp"):
            rounds = 1 if pruner == "omp" else sum(r < sparsity for r in v.imp_rounds) + 1
            total += tried * (STEP * (rounds + 1) * v.steps * batch + main)
        if method.role == "dense" or sparsity in v.control_sparsities:
            for name in v.controls:
                if pruner in PRUNING_CONTROLS[name].methods:
                    steps = 0 if name in ("untouched", "bn") else v.steps
                    each = v.batch if name == "source_mask" else batch  # of the source there are always enough
                    total += seeds * (STEP * steps * each + measured(name in PROMPTED or method.prompted))
    return Counter({v.canvas: round(total)})


def of_quantize(parameters: Parameters, size: Size) -> Passes:
    """Each border, at every learning rate, and every way in which it is quantized."""
    across, settings = parameters.across, parameters.hidden_cost
    how, seeds = settings.visual_prompting, len(across.seeds)
    rates, arms = len(how.learning_rates), 2 + len(across.codebooks) * len(across.bits)
    one = _prompted(settings, how, across.budget, size)
    runs = rates * seeds + rates  # in full precision: chosen with the first seed, then all seeds at all rates
    runs += len(across.trained_bits) * (rates + seeds)
    measured = seeds * (arms + (rates - 1) * (1 + len(across.bits)) + 1 + len(across.trained_bits))
    grey = seeds * _train(settings, across.budget, size)
    return Counter({how.canvas: runs * one + measured * size.test + grey})


def _runs(settings: HiddenCost, schedule: Schedule) -> int:
    return len(settings.seeds) + len(schedule.learning_rates) - 1


def _train(settings: HiddenCost, budget: int | str, size: Size) -> int:
    """Training pictures."""
    left = size.pool - settings.validation_per_class * size.classes
    return left if budget == "all" else min(left, budget * size.classes)


def _trained(settings: HiddenCost, schedule: Schedule, budget: int | str, size: Size) -> int:
    """One run of training: its steps, the evaluations on the way, and what it is measured on."""
    train, validation = _train(settings, budget, size), settings.validation_per_class * size.classes
    parts = math.ceil(train / schedule.batch)
    epochs, rest = divmod(schedule.steps, parts)
    small, large = divmod(train, parts)  # batches are of one size or one apart, larger ones first
    pictures = epochs * train + rest * small + min(rest, large)
    evaluated = validation + (size.test if settings.test_curves else 0)
    return STEP * pictures + schedule.evaluations * evaluated + validation + size.test


def _prompted(settings: HiddenCost, schedule: VisualPrompting, budget: int | str, size: Size) -> int:
    """The same of a prompt, whose label mapping starts from a pass over the training pictures, if it is not random."""
    start = 0 if schedule.mapping == "random" else _train(settings, budget, size)
    return _trained(settings, schedule, budget, size) + start
