"""Settings of mask search with prompts (VPNs, arXiv 2312.01397) and of other pruning methods."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vpstudy.compression.settings import Sparsity
from vpstudy.prompts.visual.kinds import Added
from vpstudy.prompts.visual.registry import PROMPTS, Prompting
from vpstudy.settings import AXIS, Budget, Positive, Rate, Seed, Share, increasing, one_of, unique
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

ControlName = Annotated[str, one_of(CONTROLS, "control", "vpstudy/training/mask_search/methods.py")]
PrunerName = Annotated[str, one_of(METHODS, "pruner", "vpstudy/training/mask_search/methods.py")]
Ratio = Annotated[float, Field(gt=0, le=0.9)]  # beyond 0.9 whole layers would go


class MaskSearch(Prompting):
    sparsities: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    controls: Annotated[list[ControlName], AfterValidator(unique)]
    control_pruners: Annotated[list[PrunerName], AfterValidator(unique)] | Literal["all"]  # controls run for these
    control_sparsities: Annotated[list[Sparsity], AfterValidator(increasing)]  # controls and ablations run at these
    channel_ratios: Annotated[list[Ratio], AfterValidator(increasing)]  # shares of removed channels
    seeds: Annotated[list[Seed], *AXIS]
    budget: Budget  # training pictures per class
    validation_per_class: Annotated[int, Field(ge=2)]
    inner: Positive  # side of the picture, padded with black, px
    shift: Annotated[int, Field(ge=0)]  # largest shift of augmentation, px
    batch: Positive
    steps: Annotated[int, Field(ge=4, multiple_of=4)]  # gradient steps of a method, finding and tuning together
    imp_rounds: Annotated[list[Sparsity], Field(min_length=1), AfterValidator(increasing)]
    weight_rate: Rate  # SGD
    score_rate: Rate  # Adam
    prompt_rate: Rate  # Adam
    weight_decay: Share
    factors: Annotated[list[Annotated[float, Field(gt=0)]], *AXIS]  # of the rates; validation chooses per sparsity

    def changed(self, change: Mapping[str, Any]) -> Self:
        """These settings with `change`; of `prompts`, only those named. Raises pydantic's ValidationError."""
        content = self.model_dump()
        prompts = content["prompts"] | change.get("prompts", {})
        return self.model_validate(content | dict(change) | {"prompts": prompts})

    @model_validator(mode="after")
    def _fit(self):
        problems = []
        if not isinstance(self.chosen, Added):
            added = ", ".join(name for name, kind in PROMPTS.items() if issubclass(kind, Added))
            problems.append(
                f"prompt: {self.prompt!r} is not added to a picture that fills the canvas; allowed: {added}"
            )
        if self.inner > self.canvas:
            problems.append(f"inner ({self.inner}) must not exceed canvas ({self.canvas})")
        if self.shift >= self.inner:
            problems.append(f"shift ({self.shift}) must be below inner ({self.inner}), or pictures leave the canvas")
        problems += [
            f"control_sparsities: {sparsity} is not in sparsities ({self.sparsities})"
            for sparsity in self.control_sparsities
            if sparsity not in self.sparsities
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self
