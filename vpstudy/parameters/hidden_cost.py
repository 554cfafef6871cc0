"""Parameters of the hidden_cost study (arXiv 2308.14969): targets, budgets, and three ways to adapt."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.parameters.base import AXIS, Budget, Positive, Rate, Seed, Share, Strict, one_of

TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]


class Schedule(Strict):
    """How long and how fast to train; validation picks among `evaluations` evenly spaced moments."""

    steps: Positive
    batch: Positive
    learning_rate: Rate
    evaluations: Positive

    @model_validator(mode="after")
    def _evaluations_fit(self):
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations ({self.evaluations}) must not exceed steps ({self.steps})")
        return self


class VisualPrompting(Schedule):
    inner: Positive  # side of the picture, px
    canvas: Positive  # side of picture and border together, px
    mapping: Literal["iterative", "frequency", "random"]

    @model_validator(mode="after")
    def _border_is_left(self):
        if self.inner >= self.canvas:
            raise ValueError(f"inner ({self.inner}) must be below canvas ({self.canvas}), or no border is left")
        return self


class LinearProbe(Schedule):
    size: Positive  # side of the resized picture, px


class FineTuning(Schedule):
    size: Positive
    weight_decay: Share


class HiddenCost(Strict):
    targets: Annotated[list[TargetName], *AXIS]
    seeds: Annotated[list[Seed], *AXIS]
    budgets: Annotated[list[Budget], *AXIS]  # pictures per class; "all" is every one left
    fine_tuning_budgets: Annotated[list[Budget], *AXIS]
    validation_per_class: Annotated[int, Field(ge=2)]
    visual_prompting: VisualPrompting
    linear_probe: LinearProbe
    fine_tuning: FineTuning
