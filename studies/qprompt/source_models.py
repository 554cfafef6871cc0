"""The two-tower model of a backbone: which settings make it, of which size its pictures are, and its cell."""

from typing import Any

from studies.parameters import Parameters
from vpstudy.models.weights import is_locked
from vpstudy.training.prompt_learning.settings import ClipSource, LockedTuning


def settings(parameters: Parameters, backbone: str) -> ClipSource | LockedTuning:
    return parameters.locked_tuning if is_locked(parameters.weights, backbone) else parameters.clip_source


def size(parameters: Parameters, backbone: str) -> int:
    """Side of a picture, px."""
    return parameters.locked_tuning.size if is_locked(parameters.weights, backbone) else parameters.source.size


def cell(parameters: Parameters, backbone: str, checkpoint: int = 0) -> Any:
    """The clip_source cell of a backbone."""
    from studies.qprompt.clip_source_cell import ClipSourceCell
    from studies.qprompt.locked_cell import LockedCell

    kind = LockedCell if is_locked(parameters.weights, backbone) else ClipSourceCell
    return kind(parameters, backbone, checkpoint)
