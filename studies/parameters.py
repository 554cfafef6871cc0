"""All of `params.yaml`: every section, the axes of the grid, and what must fit across sections."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from studies.across.settings import across_problems
from studies.axes import BackboneName, CompressionName
from studies.hidden_cost.settings import HiddenCost
from studies.optional import (
    Backbones,
    OptionalAcross,
    OptionalProtocols,
    OptionalQprompt,
    OptionalVpns,
    left_out_problems,
    without_left_out,
)
from studies.qprompt.clips_settings import clip_problems
from studies.qprompt.learning_settings import learning_problems
from studies.qprompt.multimodal_settings import Multimodal
from studies.qprompt.protocols_settings import protocol_problems
from vpstudy import paths
from vpstudy.compression.recovery import Distillation, recovery_problems
from vpstudy.compression.settings import Checkpoints, Compressing, Imp, Source
from vpstudy.data import sources
from vpstudy.data.settings import AllPictures, Fetched, absent_pictures, picture_problems
from vpstudy.models import architectures
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.weights import Weights, backbone_problems
from vpstudy.settings import AXIS, Execution, Strict, check, read, unique
from vpstudy.training.mask_search.methods import METHODS

MOST_CHANNELS = 0.9  # share of them that may go
IMP_ROUND = re.compile(r"imp-0\.\d\d[1-9]?")


class Parameters(Strict):
    scale: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    execution: Execution
    pretrained: Annotated[list[BackboneName], AfterValidator(unique)]
    clips: Annotated[list[BackboneName], AfterValidator(unique)]
    outside: Annotated[list[str], AfterValidator(unique)]
    weights: Weights
    backbones: Backbones
    compressions: Annotated[list[CompressionName], *AXIS]
    source: Source
    imp: Imp
    compressing: Compressing
    checkpoints: Checkpoints
    pictures: AllPictures
    fetched: Fetched  # may be empty: then every target is embedded
    recovery: Distillation
    hidden_cost: HiddenCost
    vpns: OptionalVpns
    qprompt: OptionalQprompt
    protocols: OptionalProtocols
    multimodal: Multimodal
    across: OptionalAcross


def _across_sections(content: dict[str, Any]) -> Iterator[str]:
    """Problems between sections. Reads the raw content, so that they are told together with all others."""
    compressions, imp, source = (content.get(key) for key in ("compressions", "imp", "source"))
    yield from backbone_problems(content)
    yield from clip_problems(content)
    yield from _pruning(content.get("vpns"), source)
    yield from protocol_problems(content)
    yield from learning_problems(content)
    yield from left_out_problems(content)
    runs = without_left_out(content)
    yield from across_problems(runs)
    yield from picture_problems(runs)
    yield from recovery_problems(runs)
    if isinstance(compressions, list):
        if "dense" not in compressions:
            yield "compressions: 'dense' is missing, and every change is measured against it"
        rounds = imp.get("rounds") if isinstance(imp, dict) else None
        if isinstance(rounds, list) and all(isinstance(sparsity, float) for sparsity in rounds):
            allowed = [f"imp-{sparsity:.3f}".removesuffix("0") for sparsity in rounds]
            for name in compressions:
                if IMP_ROUND.fullmatch(str(name)) and name not in allowed:
                    yield (
                        f"compressions: {name!r} is no round of imp.rounds; allowed: {', '.join(allowed)}, "
                        "or another once its sparsity stands in imp.rounds"
                    )
        known = content.get("checkpoints")
        for name in compressions:
            label = str(name).removeprefix("file-")
            if str(name).startswith("file-") and isinstance(known, dict) and label not in known:
                yield (
                    f"compressions: {name!r} is no entry of checkpoints; allowed: "
                    f"{', '.join(f'file-{key}' for key in known) or 'none, checkpoints is empty'}"
                )
        for key in ("control_compressions", "fine_tuning_compressions"):
            chosen = (content.get("hidden_cost") or {}).get(key)
            for name in chosen if isinstance(chosen, list) else []:
                if name not in compressions:
                    yield (
                        f"hidden_cost.{key}: {name!r} is not in compressions; "
                        f"allowed: {', '.join(map(str, compressions))}"
                    )
    making = content.get("compressing")
    if isinstance(making, dict) and isinstance(source, dict):
        begin, steps = making.get("recovery_from"), source.get("steps")
        if isinstance(begin, int) and isinstance(steps, int) and begin >= steps:
            yield f"compressing.recovery_from: {begin}: must be below source.steps ({steps})"
    if isinstance(imp, dict) and isinstance(source, dict):
        rewind, steps = imp.get("rewind_step"), source.get("steps")
        if isinstance(rewind, int) and isinstance(steps, int) and rewind >= steps:
            yield f"imp.rewind_step: {rewind}: must be below source.steps ({steps})"


def _pruning(vpns: Any, source: Any) -> Iterator[str]:
    """What a section `vpns` would fail on while it runs. Only of values that are sound by themselves."""
    try:
        v = OptionalVpns.model_validate(vpns)
        # What others take is known to their libraries, which are slow to load: the stage `weights` tells.
        embedded = [name for name in v.backbones if architectures.read(name)[0] in ARCHITECTURES]
        kinds = {name: ARCHITECTURES[architectures.read(name)[0]] for name in embedded}
    except ValueError:
        return  # told with its own key
    stages = len(v.imp_rounds) + 1
    if "imp" in v.pruners and v.steps < stages:
        yield f"vpns.steps: {v.steps}: IMP cuts them into {stages} (imp_rounds and tuning); give at least {stages}"
    inner = min(METHODS[name].change.get("inner", v.inner) for name in v.pruners)
    if v.shift >= inner:
        yield f"vpns.shift: {v.shift}: must be below the side of the picture ({inner})"
    if any(ratio > MOST_CHANNELS for ratio in v.channel_ratios):
        yield f"vpns.channel_ratios: {v.channel_ratios}: at most {MOST_CHANNELS:g}, or whole layers would go"
    for name, kind in kinds.items():
        channels = [pruner for pruner in v.pruners if METHODS[pruner].role == "channels"]
        if channels and not kind.batchnorm:
            yield (
                f"vpns.pruners: {channels[0]!r} prunes channels by their BatchNorm factors, and {name!r} has none; "
                "take it out of vpns.pruners or the backbone out of vpns.backbones"
            )
        size = source.get("size") if isinstance(source, dict) else None
        if isinstance(size, int) and v.canvas != size and not kind.any_size:
            yield f"vpns.canvas: {v.canvas}: {name!r} takes only source.size ({size})"


def load(path: Path = paths.PARAMS) -> Parameters:
    """The parameters in `path`, for a run on this machine.

    Raises
    ------
    ParameterError
        With a line for each problem: the key, the value given, what is allowed. A folder of pictures that is not there
        is one.
    """
    content = read(path)
    return validate(content, path.name, absent_pictures(content))


def validate(content: dict[str, Any], source: str, also: Iterable[str] = ()) -> Parameters:
    """`content` as parameters; a ParameterError that names `source`, and every problem, if it is none.

    `also` are problems that are told with those of the content itself.
    """
    pictures = content.get("pictures")
    declared = map(str, pictures) if isinstance(pictures, dict) else ()
    with architectures.checking(content.get("weights")), sources.declaring(declared):
        return check(content, Parameters, source, also=[*_across_sections(content), *also])
