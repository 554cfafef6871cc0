"""Learned text prompts in files: packed where they are quantized, with the network that shifts them if there is one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from vpstudy import atomic
from vpstudy.prompts.codebook import Packed
from vpstudy.prompts.text import NETWORKS, Network

KEY = "prompts"  # in the metadata: what is stored of each prompt


@dataclass(frozen=True)
class Stored:
    """A prompt as stored."""

    values: Tensor | Packed
    network: Network | None = None

    @property
    def context(self) -> Tensor:
        """Context vectors (M, width)."""
        return self.values.unpacked() if isinstance(self.values, Packed) else self.values


def write(path: Path, prompts: Mapping[str, Stored]) -> None:
    """Write prompts by name."""
    tensors, kept = {}, {}
    for name, prompt in prompts.items():
        parts = prompt.network.state_dict() if prompt.network else {}
        if isinstance(prompt.values, Packed):
            parts |= {"codes": prompt.values.codes, "book": prompt.values.book}
        else:
            parts["context"] = prompt.values
        tensors |= {f"{name}/{part}": tensor.detach().cpu().contiguous().clone() for part, tensor in parts.items()}
        kept[name] = {"shape": list(prompt.context.shape)}
        kept[name] |= {"network": type(prompt.network).__name__ if prompt.network else None}
    atomic.write_bytes(path, serialize(tensors, {KEY: json.dumps(kept)}))


def read(path: Path) -> dict[str, Stored]:
    """The prompts in a file, by name, in the order in which they were written.

    Raises FileNotFoundError, and ValueError for a file of another kind.
    """
    advice = "give one that the stage prompt writes: data/models/SCALE/BACKBONE/prompts/TARGET-PROMPTER/0.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of prompts; {advice}")
    try:
        with safe_open(path, "pt") as file:
            kept = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: no file of prompts ({error}); {advice}") from None
    if kept is None:
        raise ValueError(f"{path}: this file holds no prompts; {advice}")
    return {name: _one(name, tensors, **of) for name, of in kept.items()}


def _one(name: str, tensors: dict[str, Tensor], shape: list[int], network: str | None) -> Stored:
    parts = {key.removeprefix(f"{name}/"): of for key, of in tensors.items() if key.startswith(f"{name}/")}
    codes, book, context = (parts.pop(part, None) for part in ("codes", "book", "context"))
    values = Packed(codes, book, tuple(shape)) if context is None else context
    if network is None:
        return Stored(values)
    n_features, (n_context, width) = parts["layers.0.weight"].shape[1], shape
    made = NETWORKS[network](n_features, n_context, width, seed=0)
    made.load_state_dict(parts)
    return Stored(values, made.eval().requires_grad_(False))
