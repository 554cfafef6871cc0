"""Control: CoOp with Gaussian noise on its context, fresh at each step or fixed."""

from typing import Annotated

from pydantic import Field

from vpstudy.settings import AXIS, Strict
from vpstudy.training.prompt_learning.prompters.base import Noise, Prompter, Variant


class Settings(Strict):
    levels: Annotated[list[Annotated[float, Field(gt=0)]], *AXIS] = Field([0.05, 0.5, 5.0])  # in initial deviations


def arms(trial):
    levels = {f"{level:g}": level for level in trial.own.levels} | {"matched": trial.error(bits=1)}
    for name, level in levels.items():
        for kind in ("fresh", "fixed"):
            noise = Noise(level, trial.seed_for("noise"), fixed=kind == "fixed")
            yield trial.trained(f"{kind}-{name}", Variant(noise=noise))


PROMPTER = Prompter(
    "CoOp with noise",
    arms,
    Settings,
    role="control",
    arm_labels={
        "fresh": "noise {level} σ, fresh",
        "fixed": "noise {level} σ, kept",
        "fresh-matched": "noise of one bit's first error, fresh",
        "fixed-matched": "noise of one bit's first error, kept",
    },
)
