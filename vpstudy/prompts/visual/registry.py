"""Visual prompts by name, and the settings with which a study chooses among them. Free of torch."""

from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, model_validator

from vpstudy.prompts.visual.kinds import Module, VisualPrompt
from vpstudy.settings import Positive, Strict, one_of, problems_of

# depends on vpstudy/prompts/visual, called by name
# One line a prompt: name, file and class. Figures and tables keep this order.
PROMPTS: dict[str, type[VisualPrompt]] = {
    name: resolve_name(f"vpstudy.prompts.visual.{place}")
    for name, place in {
        "border": "border:Border",
        "full": "full:Full",
        "low_rank": "low_rank:LowRank",
        "patch": "patch:Patch",
        "random_patch": "patch:RandomPatch",
        "frame": "frame:Frame",
        "circle": "circle:Circle",
    }.items()
}

PromptName = Annotated[str, one_of(PROMPTS, "visual prompt", "vpstudy/prompts/visual/registry.py")]


def _typed(content: dict[str, dict[str, Any]]) -> dict[str, VisualPrompt]:
    problems = [f"{name}.{line}" for name, values in content.items() for line in problems_of(values, PROMPTS[name])]
    if problems:
        raise ValueError("; ".join(problems))
    return {name: PROMPTS[name].model_validate(values) for name, values in content.items()}


def _plain(prompts: dict[str, VisualPrompt]) -> dict[str, dict[str, Any]]:
    return {name: settings.model_dump() for name, settings in prompts.items()}


class Prompting(Strict):
    """The prompt in use, with settings for it and for the prompts of controls."""

    canvas: Positive  # side of the backbone's input, px
    prompt: PromptName
    # own settings of each prompt, by name
    prompts: Annotated[dict[PromptName, dict[str, Any]], AfterValidator(_typed), PlainSerializer(_plain)]

    @property
    def chosen(self) -> VisualPrompt:
        """Settings of the prompt in use."""
        return self.prompts[self.prompt]

    def make_prompt(self, seed: int) -> Module:
        """An untrained prompt of the kind in use."""
        return self.chosen.make(self.canvas, seed)

    @model_validator(mode="after")
    def _prompts_fit(self):
        problems = [f"prompts.{name}: {line}" for name, p in self.prompts.items() for line in p.problems(self.canvas)]
        if self.prompt not in self.prompts:
            problems.append(f"prompts: the settings of {self.prompt!r}, which is used, are missing")
        if problems:
            raise ValueError("; ".join(problems))
        return self
