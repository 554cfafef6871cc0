"""Types of the names on the axes of the grid."""

from typing import Annotated

from pydantic import AfterValidator

from vpstudy.compression.registry import parse
from vpstudy.models import architectures
from vpstudy.settings import AXIS, unique


def compression_name(value: str) -> str:
    """The name, if it is one. Raises ValueError, which says what is allowed."""
    try:
        return parse(value).name
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{value}: ")) from None


def _own(value: str) -> str:
    architectures.own(value)
    return value


OwnBackbone = Annotated[str, AfterValidator(_own)]  # pretrained here
CompressionName = Annotated[str, AfterValidator(compression_name)]
Backbones = Annotated[list[str], AfterValidator(unique)]  # of a study; empty: it is left out
Targets = Annotated[list[str], *AXIS]  # picture_checks.py checks the names, as params.yaml may add targets
