"""Iterative magnitude pruning (IMP) with rewinding: one file per round, so that it can be interrupted.

Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis" (ICML 2020), algorithm 2: train, prune the
smallest weights, set the others back to an early step of the first training, train again.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from vpstudy import atomic
from vpstudy.compression.family import sparsity_text
from vpstudy.compression.magnitude import magnitude
from vpstudy.compression.masks import Mask, release

WEIGHTS, MASK = "weights.", "mask."


@dataclass(frozen=True)
class Round:
    """A finished round: its file, and its nominal and measured sparsity over the prunable weights."""

    path: Path
    nominal_sparsity: float
    sparsity: float


def round_path(folder: Path, sparsity: float) -> Path:
    """File of the round with this nominal sparsity, e.g. `folder/round-0.80.safetensors`."""
    return Path(folder) / f"round-{sparsity_text(sparsity)}.safetensors"


def load_round(path: Path) -> tuple[dict[str, Tensor], Mask]:
    """State dict (pruned weights are zero) and mask of a round. Raises ValueError if the file is damaged."""
    weights, mask, _ = _read(path)
    return weights, mask


def iterative_magnitude_pruning(
    model: nn.Module,
    prunable: Collection[str],
    rewind_state: Mapping[str, Tensor],
    rounds: Sequence[float],
    train: Callable[[nn.Module, int], None],
    folder: Path,
    identity: str,
) -> list[Round]:
    """Prune a trained network round by round; return the rounds, all of them on disk.

    Each round trains `model` in place; at the end, also after an error, it has its dense weights again. The `prunable`
    weights are ranked together by magnitude, ties in this order. `rewind_state` is a whole state dict, buffers too,
    from an early step of the dense training; `rounds` are cumulative sparsities.

    `train` gets the model (rewound, pruned, constrained to its mask) and the index of the round, which must seed all
    its randomness, so that interrupted runs give the same result. `identity` names all that `train` depends on. A round
    is made again if its file is damaged or has another identity, model, rewind state or previous round; files of other
    sparsities are removed. Raises ValueError if `rounds` do not strictly increase, or weights to rank are not finite.
    """
    if not rounds or any(later <= earlier for earlier, later in pairwise(rounds)):
        raise ValueError(f"the cumulative sparsities must strictly increase, got {list(rounds)}")
    paths = [round_path(folder, sparsity) for sparsity in rounds]
    for stray in set(Path(folder).glob("*round-*.safetensors*")) - set(paths):
        stray.unlink()
    dense = _copy(model.state_dict())
    weights, mask = dense, Mask.dense({name: dense[name] for name in prunable})
    came_from = _digest({**_prefixed("dense.", dense), **_prefixed("rewind.", rewind_state)}, *prunable)
    finished = []
    for index, (sparsity, path) in enumerate(zip(rounds, paths, strict=True)):
        label = {"identity": identity, "continues": came_from, "nominal_sparsity": sparsity_text(sparsity)}
        if not _is_finished(path, label):
            mask = magnitude({name: weights[name] for name in prunable}, sparsity, mask=mask)
            try:
                model.load_state_dict(rewind_state)
                mask.constrain(model)
                train(model, index)
            finally:
                release(model)
                weights = _copy(model.state_dict())
                model.load_state_dict(dense)
            _write(path, weights, mask, label)
        weights, mask, metadata = _read(path)
        came_from = metadata["digest"]
        finished.append(Round(path, sparsity, mask.sparsity))
    return finished


def _is_finished(path: Path, label: Mapping[str, str]) -> bool:
    try:
        metadata = _read(path)[2]
    except (FileNotFoundError, ValueError):
        return False
    return label.items() <= metadata.items()


def _write(path: Path, weights: Mapping[str, Tensor], mask: Mask, label: Mapping[str, str]) -> None:
    tensors = {**_prefixed(WEIGHTS, weights), **mask.to_tensors(MASK)}
    metadata = {**label, "sparsity": str(mask.sparsity), "digest": _digest(tensors)}
    # A single entry: safetensors has no fixed order, and equal runs must write equal bytes.
    atomic.write_bytes(path, serialize(tensors, {"round": json.dumps(metadata, sort_keys=True)}))


def _read(path: Path) -> tuple[dict[str, Tensor], Mask, dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("round", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not iterable)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no complete safetensors file: {error}") from error
    if metadata.get("digest") != _digest(tensors):
        raise ValueError(f"{path} is damaged, or no round of iterative pruning: its digest does not fit")
    weights = {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)}
    return weights, Mask.from_tensors(tensors, MASK), metadata


def _digest(tensors: Mapping[str, Tensor], *texts: str) -> str:
    """SHA-256 of the tensors' names, types, shapes and bits, and of `texts`."""
    return hashlib.sha256(serialize(_copy(tensors)) + "\n".join(texts).encode()).hexdigest()


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU that share no memory, as safetensors needs them."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}
