"""Controls: variants of a method with one change, to measure its effect. Free of torch, for the command line."""

from dataclasses import dataclass, field
from typing import Any

from vpstudy.prompts.label_mapping import MAPPINGS
from vpstudy.prompts.visual.registry import PROMPTS


@dataclass(frozen=True)
class Control:
    """A method with some settings changed; runs only at the largest budget unless `every_budget`."""

    label: str  # in figures
    method: str
    change: dict[str, Any] = field(default_factory=dict)
    every_budget: bool = False


CONTROLS = {
    # The probe on the small picture, padded with black: is it the prompt or the resolution?
    "padded_probe": Control("linear probe, padded", "linear_probe", {"inner": "border"}),
    # The same epochs at each budget, as in the paper; the study's own arms take the same steps.
    "fixed_epochs": Control("prompt, fixed epochs", "visual_prompting", {"steps": "epochs"}, every_budget=True),
    # Effect of the label mapping
    **{
        f"{name}_mapping": Control(f"prompt, {mapping.label}", "visual_prompting", {"mapping": name})
        for name, mapping in MAPPINGS.items()
    },
    # Effect of the place and shape of the prompt
    **{f"{name}_prompt": Control(each.label, "visual_prompting", {"prompt": name}) for name, each in PROMPTS.items()},
}
