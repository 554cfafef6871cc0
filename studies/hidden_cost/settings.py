"""Parameters of the hidden_cost study (arXiv 2308.14969): targets, budgets, and three ways to adapt."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import Targets
from vpstudy.settings import AXIS, Budget, Seed, Strict, one_of, unique
from vpstudy.training.controls import CONTROLS
from vpstudy.training.settings import FineTuning, LinearProbe, VisualPrompting

ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/controls.py")]


class Axes(Strict):
    targets: Targets


class Settings(Strict):
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

    @model_validator(mode="after")
    def _prompts_of_controls(self):
        wanted = {
            name: "border" if name == "padded_probe" else CONTROLS[name].change.get("prompt") for name in self.controls
        }
        problems = [
            f"controls: {name} needs visual_prompting.prompts.{prompt}, which is missing"
            for name, prompt in wanted.items()
            if prompt and prompt not in self.visual_prompting.prompts
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class HiddenCost(Strict):
    axes: Axes
    settings: Settings
