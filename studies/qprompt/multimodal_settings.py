"""Parameters of prompts for both towers of a CLIP (MaPLe and QMaPLe), of the qprompt study."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from studies.axes import BackboneName
from vpstudy.data.targets import NAMES as TARGETS
from vpstudy.models import architectures
from vpstudy.settings import AXIS, Positive, Rate, Seed, Share, Strict, increasing, one_of, unique

TargetName = Annotated[str, one_of(TARGETS, "target", "vpstudy/data/targets.py")]
Bits = Annotated[int, Field(ge=1, le=8)]


class Multimodal(Strict):
    """Pictures, validation and the quantizer are told by `qprompt`."""

    backbones: Annotated[list[BackboneName], AfterValidator(unique)]  # may be empty: then no such cell runs
    targets: Annotated[list[TargetName], *AXIS]
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


def multimodal_problems(content: dict[str, Any]) -> Iterator[str]:
    """What the towers do not allow, from raw content. Only of values that are sound by themselves."""
    clip = (content.get("qprompt") or {}).get("clip") if isinstance(content.get("qprompt"), dict) else None
    try:
        multimodal = Multimodal.model_validate(content.get("multimodal"))
        kinds = {name: architectures.ARCHITECTURES[architectures.read(name)[0]] for name in multimodal.backbones}
    except ValueError:
        return  # told with its own key
    transformers = [name for name, kind in architectures.ARCHITECTURES.items() if kind.blocks]
    towers = {name: kind.blocks for name, kind in kinds.items() if kind.blocks}
    for name in kinds:
        if name not in towers:
            yield (
                f"multimodal.backbones: {name!r} is no transformer, whose blocks such prompts enter; allowed: "
                f"{', '.join(transformers)} and those pretrained anew"
            )
    of_text = clip.get("layers") if isinstance(clip, dict) else None
    if towers and isinstance(of_text, int):
        towers["the text tower (qprompt.clip.layers)"] = of_text
    name = min(towers, key=towers.__getitem__, default=None)
    if name is not None and multimodal.depth > towers[name]:
        yield f"multimodal.depth: {multimodal.depth}: {name} has {towers[name]} blocks; allowed: 1 to {towers[name]}"
