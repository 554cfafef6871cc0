"""Parameters of the study `across`: quantized prompts on compressed backbones, visual ones and those of words."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from studies.axes import Backbones, CompressionName, Targets, compression_name
from studies.backbones.checks import without_source
from vpstudy.compression.registry import parse
from vpstudy.models.weights import is_locked
from vpstudy.settings import AXIS, Budget, Positive, Seed, Strict, unique
from vpstudy.training.prompt_learning.prompters.base import Bits as TextBits

Codebook = Literal["clustered", "uniform", "random"]  # as in vpstudy/prompts/codebook.py, like the bits
Bits = Annotated[int, Field(ge=1, le=8)]


TEXT = "text-"  # before a compression: of the text tower


def of_text(compression: str) -> str | None:
    """The compression of the text tower that a name says; None for one of the image tower."""
    return compression.removeprefix(TEXT) if compression.startswith(TEXT) else None


def _tower_compression(value: str) -> str:
    try:
        compression_name(of_text(value) or value)
    except ValueError as error:
        raise ValueError(f"{error}; or {TEXT} before one that needs no training, for the text tower") from None
    return value


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


class TowerAxes(Axes):
    compressions: Annotated[list[Annotated[str, AfterValidator(_tower_compression)]], *AXIS]


class _Compared(Strict):
    axes: Axes

    @model_validator(mode="after")
    def _fit(self):
        if "dense" not in self.axes.compressions:
            raise ValueError("axes.compressions: 'dense' is missing, and every difference is measured against it")
        return self


class Across(_Compared):
    settings: Settings


class TowerSettings(Strict):
    """The rest is as in `qprompt.settings`."""

    bits: TextBits  # of QCoOp


class CompressedTowers(_Compared):
    """Text prompts for two-tower models one of whose towers is compressed."""

    axes: TowerAxes
    settings: TowerSettings


def problems(p: Any) -> Iterator[str]:
    """Conflicts between these sections and the others of the parameters `p`."""
    yield from _visual(p)
    yield from _towers(p)


def _visual(p: Any) -> Iterator[str]:
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


def _towers(p: Any) -> Iterator[str]:
    axes, key = p.compressed_towers.axes, "compressed_towers.axes"
    locked = [name for name in p.clips if is_locked(p.weights, name)]
    for name in axes.backbones:
        if name not in locked:
            allowed = ", ".join(locked) or "none, as clips has no classifier of weights"
            yield f"{key}.backbones: {name!r} is no locked network with a text tower; allowed: {allowed}"
    for name in axes.compressions if axes.backbones else ():
        compression = parse(of_text(name) or name)
        if problem := without_source(p, compression):
            yield f"{key}.compressions: {name!r} {problem}"
        elif of_text(name) and (compression.learns_from_dense or compression.of_networks):
            yield f"{key}.compressions: {name!r} is for image towers alone; allowed: one that needs no training"
