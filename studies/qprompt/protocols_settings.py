"""Parameters of few-shot learning, domain shift and transfer across data sets, of the qprompt study."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from studies.axes import BackboneName
from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.settings import AXIS, Positive, Seed, Strict, increasing, one_of, unique
from vpstudy.training.prompt_learning.protocols import PROTOCOLS, SHIFTS

ProtocolName = Annotated[str, one_of(PROTOCOLS, "protocol", "vpstudy/training/prompt_learning/protocols.py")]
ShiftName = Annotated[str, one_of(SHIFTS, "shift", "vpstudy/data/shifts.py")]
TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]
Bits = Annotated[int, Field(ge=1, le=8)]


class Protocols(Strict):
    """How prompts learn is told by `qprompt`, but for what stands here."""

    names: Annotated[list[ProtocolName], AfterValidator(unique)]  # may be empty: then no such cell runs
    backbones: Annotated[list[BackboneName], *AXIS]
    targets: Annotated[list[TargetName], *AXIS]  # that prompts learn from, all classes
    others: Annotated[list[TargetName], *AXIS]  # that they are measured on without learning
    seeds: Annotated[list[Seed], *AXIS]
    bits: Annotated[list[Bits], *AXIS, AfterValidator(increasing)]  # of prompts trained through their codebook
    shifts: Annotated[list[ShiftName], *AXIS]
    shots: Annotated[list[Positive], *AXIS, AfterValidator(increasing)]  # of few_shot: pictures per class
    epochs: list[Positive]  # at each of these
    n_context: Positive  # context vectors of few_shot, drawn at random

    @model_validator(mode="after")
    def _fit(self):
        if len(self.epochs) != len(self.shots):
            raise ValueError(f"epochs: {len(self.epochs)} entries for {len(self.shots)} of shots; give one for each")
        for name in self.targets:
            if name in self.others:
                raise ValueError(
                    f"others: {name!r} is in targets, from which prompts learn; take it out of one of them"
                )
        return self


def protocol_problems(content: dict[str, Any]) -> Iterator[str]:
    """Problems between this section and qprompt, from raw content."""
    protocols, qprompt = content.get("protocols"), content.get("qprompt")
    if not isinstance(protocols, dict) or not isinstance(qprompt, dict):
        return
    chosen, allowed = protocols.get("backbones"), qprompt.get("backbones")
    for name in chosen if isinstance(chosen, list) and isinstance(allowed, list) else []:
        if name not in allowed:
            yield f"protocols.backbones: {name!r} is not in qprompt.backbones; allowed: {', '.join(map(str, allowed))}"
