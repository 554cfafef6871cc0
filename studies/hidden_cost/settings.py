"""Parameters of the hidden_cost study (arXiv 2308.14969): targets, budgets, and three ways to adapt."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.settings import AXIS, Budget, Positive, Rate, Seed, Share, Strict, one_of, unique
from vpstudy.training.controls import CONTROLS

ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/controls.py")]
TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]


class Schedule(Strict):
    """How long and how fast to train; validation picks among `evaluations` evenly spaced moments."""

    steps: Positive
    batch: Positive
    learning_rates: Annotated[list[Rate], *AXIS]  # validation chooses, for all seeds by the first one
    evaluations: Positive

    @property
    def learning_rate(self) -> float:
        """The one that is used: the first, until validation has chosen."""
        return self.learning_rates[0]

    def at(self, rate: float) -> Self:
        """This schedule with one learning rate."""
        return self.model_copy(update={"learning_rates": [rate]})

    @model_validator(mode="after")
    def _evaluations_fit(self):
        if self.evaluations > self.steps:
            raise ValueError(f"evaluations ({self.evaluations}) must not exceed steps ({self.steps})")
        return self


class VisualPrompting(Schedule):
    prompt: Literal["pad", "full", "low_rank", "patch", "random_patch"]
    inner: Positive  # side of the picture inside a padded prompt, px
    canvas: Positive  # side of what the backbone sees, px
    rank: Positive  # of a low-rank prompt
    patch: Positive  # side of a patch, px
    mapping: Literal["iterative", "frequency", "random", "bayesian", "bayesian_plus", "linear"]
    epochs: Positive  # of the control fixed_epochs, which trains longer where there is more data

    @model_validator(mode="after")
    def _border_is_left(self):
        if self.inner >= self.canvas:
            raise ValueError(f"inner ({self.inner}) must be below canvas ({self.canvas}), or no border is left")
        if max(self.patch, self.rank) > self.canvas:
            raise ValueError(f"patch ({self.patch}) and rank ({self.rank}) must not exceed canvas ({self.canvas})")
        return self


class LinearProbe(Schedule):
    size: Positive  # side of what the backbone sees, px
    inner: Positive | None  # side of the picture inside it, in black; null: the picture fills it


class FineTuning(Schedule):
    size: Positive
    weight_decay: Share


class HiddenCost(Strict):
    targets: Annotated[list[TargetName], *AXIS]
    seeds: Annotated[list[Seed], *AXIS]
    budgets: Annotated[list[Budget], *AXIS]  # pictures per class; "all" is every one left
    fine_tuning_budgets: Annotated[list[Budget], *AXIS]
    fine_tuning_compressions: Annotated[list[str], AfterValidator(unique)] | Literal["all"]
    controls: Annotated[list[ControlName], AfterValidator(unique)]
    control_compressions: Annotated[list[str], AfterValidator(unique)]
    test_curves: bool  # measure the test split at every evaluation: diagnostics, which choose nothing
    validation_per_class: Annotated[int, Field(ge=2)]
    visual_prompting: VisualPrompting
    linear_probe: LinearProbe
    fine_tuning: FineTuning
