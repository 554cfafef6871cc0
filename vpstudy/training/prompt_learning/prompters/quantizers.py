"""Control: QCoOp with one change to its codebook."""

from pydantic import Field

from vpstudy.settings import Strict
from vpstudy.training.prompt_learning.prompters.base import AnyBits, Bits, Prompter, Variant


class Settings(Strict):
    bits: Bits = Field([1, 2])
    # Of other thresholds for refitting. At one bit the two codes go on being used about equally, so that the
    # threshold of all (the paper does not name its own) is hardly ever exceeded.
    threshold_bits: AnyBits = Field([2, 4])
    # Of "never" and "always" alone: more bits, with which codebooks are refitted.
    refit_bits: AnyBits = Field([], exclude_if=lambda given: not given)


def arms(trial):
    changes = {
        "uniform": {"scheme": "uniform"},
        "random": {"scheme": "random", "seed": trial.seed_for("codebook")},
        "raw": {"normalise": False},
        "never": {"refit": "never"},
        "always": {"refit": "always"},
    }
    refits = dict.fromkeys(trial.own.refit_bits, ("never", "always"))
    for bits, names in (refits | dict.fromkeys(trial.own.bits, tuple(changes))).items():
        for name in names:
            yield trial.trained(f"{name}-{bits}", Variant(quantize=trial.settings.quantizer(bits, **changes[name])))
    for bits in trial.own.threshold_bits:
        for name, factor in {"sooner": 0.1, "later": 10}.items():
            by = trial.settings.quantizer(bits, threshold=factor * trial.settings.threshold)
            yield trial.trained(f"{name}-{bits}", Variant(quantize=by))


PROMPTER = Prompter(
    "other codebooks",
    arms,
    Settings,
    role="control",
    arm_labels={
        "uniform": "even steps from min to max, {bits}",  # at 1 bit min and max are the two values
        "random": "random codebook, {bits}",
        "raw": "not normalised, {bits}",
        "never": "never refitted, {bits}",
        "always": "always refitted, {bits}",
        "sooner": "refitted at a tenth of the divergence, {bits}",
        "later": "refitted at ten times the divergence, {bits}",
    },
)
