"""Parameters of few-shot learning, domain shift and transfer across data sets, of the qprompt study."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from studies.axes import Backbones, Targets
from vpstudy.settings import AXIS, Positive, Seed, Strict, increasing, one_of, unique
from vpstudy.training.prompt_learning.protocols import PROTOCOLS, SHIFTS

ProtocolName = Annotated[str, one_of(PROTOCOLS, "protocol", "vpstudy/training/prompt_learning/protocols.py")]
ShiftName = Annotated[str, one_of(SHIFTS, "shift", "vpstudy/data/shifts.py")]
Bits = Annotated[int, Field(ge=1, le=8)]


class Axes(Strict):
    names: Annotated[list[ProtocolName], AfterValidator(unique)]  # may be empty: then no such cell runs
    backbones: Backbones
    targets: Targets  # that prompts learn from, all classes


class Settings(Strict):
    """How prompts learn is told by `qprompt`, but for what stands here."""

    others: Targets  # that they are measured on without learning
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
        return self


class Protocols(Strict):
    axes: Axes
    settings: Settings

    @model_validator(mode="after")
    def _fit(self):
        for name in self.axes.targets:
            if name in self.settings.others:
                raise ValueError(
                    f"settings.others: {name!r} is in axes.targets, from which prompts learn; take it out of one"
                )
        return self


def problems(p: Any) -> Iterator[str]:
    """Backbones that `qprompt` does not have."""
    allowed = p.qprompt.axes.backbones
    for name in p.protocols.axes.backbones:
        if name not in allowed:
            yield f"protocols.axes.backbones: {name!r} is not in qprompt.axes.backbones; allowed: {', '.join(allowed)}"
