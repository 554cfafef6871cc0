"""Parameters of the study `across`: quantized visual prompts on compressed backbones."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import Backbones, CompressionName, Targets
from vpstudy.settings import AXIS, Budget, Positive, Seed, Strict, unique

Codebook = Literal["clustered", "uniform", "random"]  # as in vpstudy/prompts/codebook.py, like the bits
Bits = Annotated[int, Field(ge=1, le=8)]


class Axes(Strict):
    backbones: Backbones
    compressions: Annotated[list[CompressionName], *AXIS]
    targets: Targets


class Settings(Strict):
    """Prompts are set in `hidden_cost.settings.visual_prompting`."""

    seeds: Annotated[list[Seed], *AXIS]
    budget: Budget  # training pictures per class
    bits: Annotated[list[Bits], *AXIS]  # of prompts quantized after training
    codebooks: Annotated[list[Codebook], *AXIS]  # for these
    trained_bits: Annotated[list[Bits], AfterValidator(unique)]  # of prompts trained through the quantizer
    interval: Positive  # steps from a fit to the next check of the codebook
    threshold: Annotated[float, Field(ge=0)]  # KL divergence (nats) above which it is refitted


class Across(Strict):
    axes: Axes
    settings: Settings

    @model_validator(mode="after")
    def _fit(self):
        if "dense" not in self.axes.compressions:
            raise ValueError("axes.compressions: 'dense' is missing, and every difference is measured against it")
        return self


def problems(p: Any) -> Iterator[str]:
    """Conflicts between this section and the others of the parameters `p`."""
    if not p.across.axes.backbones:
        return
    for key in ("backbones", "compressions"):
        allowed = getattr(p, key)
        for name in getattr(p.across.axes, key):
            if name not in allowed:
                yield f"across.axes.{key}: {name!r} is not in {key}; allowed: {', '.join(allowed)}"
    prompt = p.hidden_cost.settings.visual_prompting.prompt
    if prompt != "border":
        key = "hidden_cost.settings.visual_prompting.prompt"
        yield f"{key}: {prompt!r}: the study across quantizes borders; give border"
