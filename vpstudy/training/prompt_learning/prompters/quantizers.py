"""Control: QCoOp with one change to its codebook."""

from typing import Annotated

from pydantic import AfterValidator, Field

from vpstudy.settings import AXIS, Strict, increasing
from vpstudy.training.prompt_learning.prompters.base import Prompter, Variant


class Settings(Strict):
    bits: Annotated[list[Annotated[int, Field(ge=1, le=8)]], *AXIS, AfterValidator(increasing)] = Field([1, 2])


def arms(trial):
    changes = {
        "uniform": {"scheme": "uniform"},
        "random": {"scheme": "random", "seed": trial.seed_for("codebook")},
        "raw": {"normalise": False},
        "never": {"refit": "never"},
        "always": {"refit": "always"},
    }
    for bits in trial.own.bits:
        for name, change in changes.items():
            yield trial.trained(f"{name}-{bits}", Variant(quantize=trial.quantizer(bits, **change)))


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
    },
)
