"""Studies that a scale may leave out, by an empty list of backbones; and what is then no longer asked for."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from studies.across.settings import Across
from studies.axes import BackboneName
from studies.qprompt.protocols_settings import Protocols
from vpstudy.settings import unique
from vpstudy.training.mask_search.settings import Vpns
from vpstudy.training.prompt_learning.settings import Qprompt

Backbones = Annotated[list[BackboneName], AfterValidator(unique)]  # of a study; none: it is left out
STUDIES = ("vpns", "qprompt", "protocols", "multimodal", "across")  # beside hidden_cost, whose are `backbones`


class OptionalVpns(Vpns):
    backbones: Backbones


class OptionalQprompt(Qprompt):
    backbones: Backbones


class OptionalProtocols(Protocols):
    backbones: Backbones


class OptionalAcross(Across):
    backbones: Backbones


def without_left_out(content: dict[str, Any]) -> dict[str, Any]:
    """Raw content without the sections of studies that have no backbones: nothing runs by them."""
    return {key: value for key, value in content.items() if key not in STUDIES or _backbones(content, key) != []}


def left_out_problems(content: dict[str, Any]) -> Iterator[str]:
    """Nothing that is left to run, and towers for a study that is left out, from raw content."""
    if content.get("backbones") == [] and all(_backbones(content, study) == [] for study in STUDIES):
        keys = ", ".join(f"{study}.backbones" for study in STUDIES)
        yield f"backbones: []: nothing is left to run; give at least 1, or in one of {keys}"
    clips = content.get("clips")
    if _backbones(content, "qprompt") == [] and isinstance(clips, list) and clips:
        yield f"clips: {clips}: nothing uses them, as qprompt.backbones is empty; give [], or at least 1 there"


def _backbones(content: dict[str, Any], study: str) -> Any:
    section = content.get(study)
    return section.get("backbones") if isinstance(section, dict) else None
