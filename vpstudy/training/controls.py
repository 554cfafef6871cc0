"""Controls: variants of a method that differ in one thing, to tell what that thing is worth.

Free of torch, for the command line.
"""

from dataclasses import dataclass, field
from typing import Any

from vpstudy.prompts.label_mapping import MAPPINGS
from vpstudy.prompts.visual.registry import PROMPTS


@dataclass(frozen=True)
class Control:
    """A method with some settings changed. Without `every_budget`, it runs at the largest budget only."""

    label: str  # in figures
    method: str
    change: dict[str, Any] = field(default_factory=dict)
    every_budget: bool = False


CONTROLS = {
    # The probe sees the small picture inside a border, in black: is it the prompt, or the resolution?
    "padded_probe": Control("linear probe, padded", "linear_probe", {"inner": "border"}),
    # As many epochs at each budget, as in the paper, where the study's own arms have as many steps.
    "fixed_epochs": Control("prompt, fixed epochs", "visual_prompting", {"steps": "epochs"}, every_budget=True),
    # What is the label mapping worth?
    **{
        f"{name}_mapping": Control(f"prompt, {mapping.label}", "visual_prompting", {"mapping": name})
        for name, mapping in MAPPINGS.items()
    },
    # And the place and shape of the prompt?
    **{f"{name}_prompt": Control(each.label, "visual_prompting", {"prompt": name}) for name, each in PROMPTS.items()},
}
