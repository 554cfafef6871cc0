"""Parameters of prompts for both towers of a CLIP (MaPLe and QMaPLe), of the qprompt study."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from studies.axes import Backbones, Targets
from vpstudy.models import architectures
from vpstudy.settings import AXIS, Positive, Rate, Seed, Share, Strict, increasing

Bits = Annotated[int, Field(ge=1, le=8)]


class Axes(Strict):
    backbones: Backbones  # may be empty: then no such cell runs
    targets: Targets


class Settings(Strict):
    """Pictures, validation and the quantizer are told by `qprompt`."""

    seeds: Annotated[list[Seed], *AXIS]
    bits: Annotated[list[Bits], *AXIS, AfterValidator(increasing)]  # of QMaPLe, and of MaPLe quantized after training
    codebooks: Literal["tensor", "layer"]
    depth: Positive  # blocks of both towers that prompts enter
    n_context: Positive  # vectors in each of them
    words: str | None  # that those at the input start from; null: drawn at random
    epochs: Positive
    batch: Positive
    learning_rate: Rate  # SGD with momentum 0.9, one epoch of warm-up, then a cosine
    weight_decay: Share
    evaluations: Positive  # evenly spaced epochs at which base and new are measured


class Multimodal(Strict):
    axes: Axes
    settings: Settings


def problems(p: Any) -> Iterator[str]:
    """What the towers do not allow. Towers from elsewhere only their library knows: the command `check` asks it."""
    names = [name for name in p.multimodal.axes.backbones if name not in p.weights.root]
    kinds = {name: architectures.own(name) for name in names}
    towers = {name: kind.blocks for name, kind in kinds.items() if kind.blocks}
    for name in kinds:
        if name not in towers:
            transformers = [name for name, kind in architectures.ARCHITECTURES.items() if kind.blocks]
            yield (
                f"multimodal.axes.backbones: {name!r} is no transformer, whose blocks such prompts enter; allowed: "
                f"{', '.join(transformers)} and those pretrained anew"
            )
    if towers:
        towers["the text tower (clip_source.layers)"] = p.clip_source.layers
        name, depth = min(towers, key=towers.__getitem__), p.multimodal.settings.depth
        if depth > towers[name]:
            most = towers[name]
            yield f"multimodal.settings.depth: {depth}: {name} has {most} blocks; allowed: 1 to {most}"
