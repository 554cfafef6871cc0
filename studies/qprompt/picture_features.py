"""Features of a target's pictures, kept beside a two-tower model: no text prompt changes them."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from vpstudy import atomic
from vpstudy.data.target import Target
from vpstudy.runtime import Runtime


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
