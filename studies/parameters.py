"""All of `params.yaml`: axes of the grid, settings of each section, and checks across sections."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter
from ruamel.yaml import YAML, YAMLError

from studies.across import settings as across
from studies.axes import Backbones, CompressionName, OwnBackbone
from studies.backbones import checks, picture_checks
from studies.hidden_cost import real_network
from studies.hidden_cost.settings import HiddenCost
from studies.qprompt import settings as qprompt
from studies.vpns import settings as vpns
from vpstudy import paths
from vpstudy.compression.settings import Checkpoint, Compressing, Distillation, Imp, Source
from vpstudy.data.origin import Fetched, Origins
from vpstudy.models.weights import Weights
from vpstudy.settings import AXIS, Execution, ParameterError, Strict, problems_of, refuse, unique
from vpstudy.training.prompt_learning.settings import ClipSource, LockedTuning

# Each with its own backbones, if any.
STUDIES = ("real_network", "vpns", "qprompt", "few_shot", "other_pictures", "multimodal", "across", "compressed_towers")


class Parameters(Strict):
    """`NAME.axes` spans the cells of a study, `NAME.settings` configures each of them."""

    scale: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    execution: Execution
    pretrained: Annotated[list[OwnBackbone], AfterValidator(unique)]
    clips: Backbones
    outside: Annotated[list[str], AfterValidator(unique)]
    weights: Weights
    backbones: Backbones
    compressions: Annotated[list[CompressionName], *AXIS]
    source: Source
    imp: Imp
    compressing: Compressing
    checkpoints: dict[str, Checkpoint]  # for `file-NAME`, by NAME
    pictures: Origins
    fetched: Fetched  # may be empty: then every target is embedded
    recovery: Distillation
    hidden_cost: HiddenCost
    real_network: real_network.RealNetwork
    vpns: vpns.Vpns
    qprompt: qprompt.Qprompt
    clip_source: ClipSource
    locked_tuning: LockedTuning
    few_shot: qprompt.FewShot
    other_pictures: qprompt.OtherPictures
    multimodal: qprompt.Multimodal
    across: across.Across
    compressed_towers: across.CompressedTowers


def _nothing_to_run(p: Any) -> Iterator[str]:
    if not p.backbones and not any(getattr(p, study).axes.backbones for study in STUDIES):
        keys = ", ".join(f"{study}.axes.backbones" for study in STUDIES)
        yield f"backbones: []: nothing is left to run; give at least 1, or in one of {keys}"
    if p.clips and not p.qprompt.axes.backbones:
        yield f"clips: {p.clips}: nothing uses them, as qprompt.axes.backbones is empty; give [], or at least 1 there"


CHECKS: tuple[Callable[[Any], Iterator[str]], ...] = (
    checks.backbone_problems,
    checks.compression_problems,
    checks.schedule_problems,
    checks.recovery_problems,
    real_network.problems,
    vpns.problems,
    qprompt.problems,
    across.problems,
    picture_checks.problems,
    _nothing_to_run,
)


def read(path: Path = paths.PARAMS) -> dict[str, Any]:
    """Content of a parameters file. Raises ParameterError if it is missing or not a YAML mapping."""
    try:
        # YAML 1.2, as DVC reads it: `1e-3` is a number, and duplicate keys are errors
        content = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise ParameterError(f"{path.name} is missing; `vpstudy scale default` puts it back") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path.name}, line {mark.line + 1}" if mark else path.name
        raise ParameterError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path.name} must map keys to values; it holds {content!r}")
    return content


def load(path: Path = paths.PARAMS, to_run: bool = False) -> Parameters:
    """The parameters in `path`. Raises ParameterError as `validate` does."""
    return validate(read(path), path.name, to_run)


def validate(content: dict[str, Any], file: str, to_run: bool = False) -> Parameters:
    """Validate `content`, with `to_run` also the picture folders. Raises ParameterError with one line per problem."""
    problems = problems_of(content, Parameters)
    wrong = {re.split(r"[.:]", line)[0] for line in problems}
    sound = Parameters.model_construct(
        **{
            name: TypeAdapter(field.annotation).validate_python(content[name])
            for name, field in Parameters.model_fields.items()
            if name not in wrong
        }
    )
    for check in (*CHECKS, *([picture_checks.missing] if to_run else [])):
        try:
            problems += check(sound)
        except AttributeError as error:  # the check reads a section that is itself invalid
            if error.name not in Parameters.model_fields:
                raise
    if problems:
        raise refuse(file, problems)
    return sound
