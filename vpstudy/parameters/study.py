"""All of `params.yaml`: every section, the axes of the grid, and what must fit across sections."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from vpstudy import paths
from vpstudy.architectures import ARCHITECTURES
from vpstudy.compression import names
from vpstudy.parameters.base import AXIS, Execution, Strict, check, one_of, read
from vpstudy.parameters.hidden_cost import HiddenCost
from vpstudy.parameters.source import Imp, Source


def _compression(value: str) -> str:
    try:
        return names.parse(value).name
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{value}: ")) from None


IMP_ROUND = re.compile(r"imp-0\.\d\d")
BackboneName = Annotated[str, one_of(ARCHITECTURES, "backbone", "vpstudy/architectures.py")]
CompressionName = Annotated[str, AfterValidator(_compression)]


class Parameters(Strict):
    scale: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    execution: Execution
    backbones: Annotated[list[BackboneName], *AXIS]
    compressions: Annotated[list[CompressionName], *AXIS]
    source: Source
    imp: Imp
    hidden_cost: HiddenCost


def _across_sections(content: dict[str, Any]) -> Iterator[str]:
    """Problems between sections. Reads the raw content, so that they are told together with all others."""
    compressions, imp, source = (content.get(key) for key in ("compressions", "imp", "source"))
    if isinstance(compressions, list):
        if "dense" not in compressions:
            yield "compressions: 'dense' is missing, and every change is measured against it"
        rounds = imp.get("rounds") if isinstance(imp, dict) else None
        if isinstance(rounds, list) and all(isinstance(sparsity, float) for sparsity in rounds):
            allowed = [f"imp-{sparsity:.2f}" for sparsity in rounds]
            for name in compressions:
                if IMP_ROUND.fullmatch(str(name)) and name not in allowed:
                    yield (
                        f"compressions: {name!r} is no round of imp.rounds; allowed: {', '.join(allowed)}, "
                        "or another once its sparsity stands in imp.rounds"
                    )
    if isinstance(imp, dict) and isinstance(source, dict):
        rewind, steps = imp.get("rewind_step"), source.get("steps")
        if isinstance(rewind, int) and isinstance(steps, int) and rewind >= steps:
            yield f"imp.rewind_step: {rewind}: must be below source.steps ({steps})"


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
