"""All of `params.yaml`: every section, the axes of the grid, and what must fit across sections."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vpstudy import paths
from vpstudy.parameters.axes import BackboneName, CompressionName
from vpstudy.parameters.base import AXIS, Execution, Strict, check, read
from vpstudy.parameters.hidden_cost import HiddenCost
from vpstudy.parameters.source import Checkpoints, Compressing, Imp, Source
from vpstudy.parameters.vpns import Vpns

IMP_ROUND = re.compile(r"imp-0\.\d\d[1-9]?")


class Parameters(Strict):
    scale: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    execution: Execution
    pretrained: Annotated[list[BackboneName], *AXIS]
    backbones: Annotated[list[BackboneName], *AXIS]
    compressions: Annotated[list[CompressionName], *AXIS]
    source: Source
    imp: Imp
    compressing: Compressing
    checkpoints: Checkpoints
    hidden_cost: HiddenCost
    vpns: Vpns


def _across_sections(content: dict[str, Any]) -> Iterator[str]:
    """Problems between sections. Reads the raw content, so that they are told together with all others."""
    compressions, imp, source = (content.get(key) for key in ("compressions", "imp", "source"))
    yield from _not_pretrained(content)
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


def _not_pretrained(content: dict[str, Any]) -> Iterator[str]:
    known, vpns = content.get("pretrained"), content.get("vpns")
    chosen = {
        "backbones": content.get("backbones"),
        "vpns.backbones": vpns.get("backbones") if isinstance(vpns, dict) else None,
    }
    for key, names in chosen.items():
        for name in names if isinstance(names, list) and isinstance(known, list) else []:
            if name not in known:
                yield f"{key}: {name!r} is not in pretrained; allowed: {', '.join(map(str, known))}"


def load(path: Path = paths.PARAMS) -> Parameters:
    """The parameters in `path`.

    Raises
    ------
    ParameterError
        With a line for each problem: the key, the value given, what is allowed.
    """
    return validate(read(path), path.name)


def validate(content: dict[str, Any], source: str) -> Parameters:
    """`content` as parameters; a ParameterError that names `source`, and every problem, if it is none."""
    return check(content, Parameters, source, also=_across_sections(content))
