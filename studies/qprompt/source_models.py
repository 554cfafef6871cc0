"""The two-tower model of a backbone: its settings, the size of its pictures, its cell, and the features it keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from studies.parameters import Parameters
from vpstudy import atomic
from vpstudy.data.target import Target
from vpstudy.runtime import Runtime
from vpstudy.training.prompt_learning.settings import ClipSource, LockedTuning


def is_locked(parameters: Parameters, backbone: str) -> bool:
    """Whether its image tower is a classifier from elsewhere, to which a sentence encoder is tuned."""
    return backbone in parameters.weights and not parameters.weights[backbone].is_clip


def settings(parameters: Parameters, backbone: str) -> ClipSource | LockedTuning:
    return parameters.locked_tuning if is_locked(parameters, backbone) else parameters.clip_source


def size(parameters: Parameters, backbone: str) -> int:
    """Side of a picture, px."""
    return parameters.locked_tuning.size if is_locked(parameters, backbone) else parameters.source.size


def cell(parameters: Parameters, backbone: str, checkpoint: int = 0) -> Any:
    """The clip_source cell of a backbone."""
    from studies.qprompt.clip_source_cell import ClipSourceCell
    from studies.qprompt.locked_cell import LockedCell

    kind = LockedCell if is_locked(parameters, backbone) else ClipSourceCell
    return kind(parameters, backbone, checkpoint)


def keep(features: Tensor, target: Target, model: Path) -> None:
    """Write features (N, E) of all pictures of a target beside the file of a model."""
    atomic.write_bytes(_kept(target, model), save({"features": features.cpu().contiguous()}))


def features(
    model: Path, target: Target, chosen: Tensor | slice, compute: Callable[[Tensor], Tensor], runtime: Runtime
) -> Tensor:
    """Features (N, E) of chosen pictures of a target: those that the cell of the model kept, else computed ones."""
    file = _kept(target, model)
    if file.exists():
        return load_file(file)["features"][chosen].to(runtime.device)
    return compute(target.pictures[chosen])


def _kept(target: Target, model: Path) -> Path:
    return model.with_name(f"{model.stem}-{target.name}.safetensors")
