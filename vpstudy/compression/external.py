"""Checkpoints from outside: loaded strictly, and their sparsity measured."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vpstudy.compression.masks import Mask
from vpstudy.models.backbones import Backbone


def load_into(backbone: Backbone, path: Path) -> Mask:
    """Load a checkpoint into `backbone` and return the mask of its nonzero prunable weights.

    Names may begin with "model.". Raises one ValueError if the file is damaged or any names or shapes do not fit.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no complete safetensors file: {error}") from None
    given = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    wanted = backbone.model.state_dict()
    shapes = {
        f"{name} is {list(given[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    }
    problems = [
        *_some("missing", wanted.keys() - given.keys()),
        *_some("not in the backbone", given.keys() - wanted.keys()),
        *_some("of another shape", shapes),
    ]
    if problems:
        raise ValueError(f"{path.name} does not fit the backbone {backbone.name}: {'; '.join(problems)}")
    with torch.no_grad():
        backbone.model.load_state_dict(given)
    return Mask({name: weight != 0 for name, weight in backbone.prunable.items()})


def _some(words: str, names: set[str]) -> list[str]:
    if not names:
        return []
    shown = sorted(names)[:5]
    return [f"{len(names)} {words} ({', '.join(shown)}{', …' if len(names) > len(shown) else ''})"]
