"""Parameters of the hidden_cost study (arXiv 2308.14969): targets, budgets, and methods."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import Targets
from vpstudy.compression.registry import parse
from vpstudy.settings import AXIS, Budget, Seed, Share, Strict, one_of, unique
from vpstudy.training.controls import CONTROLS
from vpstudy.training.settings import FineTuning, LinearProbe, VisualPrompting

ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/controls.py")]


class Axes(Strict):
    targets: Targets


class Settings(Strict):
    seeds: Annotated[list[Seed], *AXIS]
    budgets: Annotated[list[Budget], *AXIS]  # training pictures per class; "all": all that are left
    fine_tuning_budgets: Annotated[list[Budget], *AXIS]
    fine_tuning_compressions: Annotated[list[str], AfterValidator(unique)] | Literal["all"]
    controls: Annotated[list[ControlName], AfterValidator(unique)]
    control_compressions: Annotated[list[str], AfterValidator(unique)]
    validation_per_class: Annotated[int, Field(ge=2)]
    visual_prompting: VisualPrompting
    linear_probe: LinearProbe
    fine_tuning: FineTuning

    @property
    def largest_budget(self) -> Budget:
        return max(self.budgets, key=lambda budget: float("inf") if budget == "all" else budget)

    def arms(self, compression: str) -> list[tuple[str, Budget]]:
        """Every (method or control, budget) for a compression; noise, which screens targets, has a probe alone."""
        if parse(compression).screens:
            return [("linear_probe", self.largest_budget)]
        budgets = {"mapping_only": self.budgets, "visual_prompting": self.budgets, "linear_probe": self.budgets}
        if self.fine_tuning_compressions == "all" or compression in self.fine_tuning_compressions:
            budgets["fine_tuning"] = self.fine_tuning_budgets
        for name in self.controls if compression in self.control_compressions else []:
            budgets[name] = self.budgets if CONTROLS[name].every_budget else [self.largest_budget]
        return [(method, budget) for method, of_method in budgets.items() for budget in of_method]

    def schedule(self, method: str, pictures: int) -> VisualPrompting | LinearProbe | FineTuning:
        """Settings of a method or control for a number of training pictures."""
        if method == "mapping_only":
            return self.visual_prompting.untrained
        if method not in CONTROLS:
            return getattr(self, method)
        settings, change = getattr(self, CONTROLS[method].method), dict(CONTROLS[method].change)
        if change.get("inner") == "border":
            change["inner"] = self.visual_prompting.prompts["border"].inner
        if change.get("steps") == "epochs":
            change["steps"] = settings.epochs * math.ceil(pictures / settings.batch)
            change["evaluations"] = min(settings.evaluations, change["steps"])
            change["remaps"] = min(settings.remaps, change["steps"] - 1)
        return settings.model_copy(update=change)

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


class Admission(Strict):
    """Floors of upstream accuracy. For a backbone from elsewhere that is its agreement with the dense network."""

    share_of_dense: Share  # of the dense network's upstream accuracy
    floor: Share  # for the dense network, too


class Screening(Strict):
    """Which targets enter claims, where compressions have noise (studies/hidden_cost/screening.py)."""

    fall: Share  # of the probe's accuracy, from dense to the strongest noise; 0: every target enters


class HiddenCost(Strict):
    axes: Axes
    admission: Admission
    screening: Screening
    settings: Settings
