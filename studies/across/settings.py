"""Parameters of the study `across`: quantized visual prompts on compressed backbones."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import BackboneName, CompressionName
from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.settings import AXIS, Budget, Positive, Seed, Strict, one_of, unique

TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]
Codebook = Literal["clustered", "uniform", "random"]  # of vpstudy/prompts/codebook.py, as are the bits
Bits = Annotated[int, Field(ge=1, le=8)]


class Across(Strict):
    """The prompts themselves are those of `hidden_cost.visual_prompting`."""

    backbones: Annotated[list[BackboneName], *AXIS]
    compressions: Annotated[list[CompressionName], *AXIS]
    targets: Annotated[list[TargetName], *AXIS]
    seeds: Annotated[list[Seed], *AXIS]
    budget: Budget  # training pictures per class
    bits: Annotated[list[Bits], *AXIS]  # of prompts that are quantized after training
    codebooks: Annotated[list[Codebook], *AXIS]  # of those
    trained_bits: Annotated[list[Bits], AfterValidator(unique)]  # of prompts that are trained through the quantizer
    interval: Positive  # steps after a fit before the codebook is compared again
    threshold: Annotated[float, Field(ge=0)]  # KL divergence, in nats, above which it is fitted anew

    @model_validator(mode="after")
    def _fit(self):
        if "dense" not in self.compressions:
            raise ValueError("compressions: 'dense' is missing, and every difference is measured against it")
        return self


def across_problems(content: dict[str, Any]) -> Iterator[str]:
    """Problems between this section and the others, from raw content."""
    across, hidden_cost = content.get("across"), content.get("hidden_cost")
    if not isinstance(across, dict):
        return
    for key in ("backbones", "compressions"):
        chosen, allowed = across.get(key), content.get(key)
        for name in chosen if isinstance(chosen, list) and isinstance(allowed, list) else []:
            if name not in allowed:
                yield f"across.{key}: {name!r} is not in {key}; allowed: {', '.join(map(str, allowed))}"
    prompting = hidden_cost.get("visual_prompting") if isinstance(hidden_cost, dict) else None
    kind = prompting.get("prompt") if isinstance(prompting, dict) else "pad"
    if kind != "pad":
        yield f"hidden_cost.visual_prompting.prompt: {kind!r}: the study across quantizes borders; give pad"
