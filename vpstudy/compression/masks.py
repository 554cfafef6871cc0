"""Pruning masks: which weights are kept, how masks are applied, held during training, and stored."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Mask(Mapping[str, Tensor]):
    """Immutable mapping: parameter name → bool CPU copy, True where kept. Raises ValueError if empty or not bool."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        if not tensors:
            raise ValueError("a mask needs at least one tensor, got none")
        wrong = {name: str(tensor.dtype) for name, tensor in tensors.items() if tensor.dtype != torch.bool}
        if wrong:
            raise ValueError(f"a mask holds bool tensors (True: kept), got {wrong}")
        self._tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }

    @classmethod
    def dense(cls, parameters: Mapping[str, Tensor]) -> "Mask":
        """Mask that keeps every weight of `parameters`."""
        return cls({name: torch.ones(tensor.shape, dtype=torch.bool) for name, tensor in parameters.items()})

    @classmethod
    def nonzero(cls, parameters: Mapping[str, Tensor]) -> "Mask":
        """Mask that keeps the weights that are not zero."""
        return cls({name: tensor != 0 for name, tensor in parameters.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        """Same names, in any order, and same kept weights."""
        if not isinstance(other, Mask):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self[name], other[name]) for name in self)

    __hash__ = None

    @property
    def size(self) -> int:
        """Number of weights, kept or pruned."""
        return sum(kept.numel() for kept in self.values())

    @property
    def kept(self) -> int:
        """Number of kept weights."""
        return sum(int(kept.sum()) for kept in self.values())

    @property
    def sparsity(self) -> float:
        """Share of pruned weights, in [0, 1]."""
        return (self.size - self.kept) / self.size

    @property
    def layer_densities(self) -> dict[str, float]:
        """Share of kept weights by parameter name."""
        return {name: int(kept.sum()) / kept.numel() for name, kept in self.items()}

    def apply_(self, parameters: Mapping[str, Tensor]) -> None:
        """Zero pruned weights once, in place. Raises ValueError, before any change, if names or shapes do not fit."""
        self.check(parameters)
        with torch.no_grad():
            for name, kept in self.items():
                parameters[name].masked_fill_(~kept.to(parameters[name].device), 0)

    def constrain(self, module: nn.Module) -> None:
        """Keep the pruned weights of `module` exactly zero during training, until `release(module)`.

        The mask is part of the forward pass (a torch parametrization): pruned weights get no gradient, and no momentum,
        weight decay or optimizer state can bring them back. `module.conv.weight` reads as masked; the trained parameter
        is `conv.parametrizations.weight.original`. Raises ValueError as `apply_`.
        """
        parameters = dict(module.named_parameters())
        self.apply_({name: parameters[name] for name in self if name in parameters})
        for name, kept in self.items():
            constrain_weight(module, name, _Masked(kept, parameters[name]))

    def to_tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Tensors by prefixed name, to share a file with others."""
        return {prefix + name: kept for name, kept in self.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str = "") -> "Mask":
        """Inverse of `to_tensors`: the mask of the `tensors` whose name starts with `prefix`."""
        return cls({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})

    def check(self, parameters: Mapping[str, Tensor]) -> None:
        """Raise ValueError, listing all problems, unless `parameters` have the mask's names and shapes."""
        problems = [f"{name} is in the mask but not given" for name in self if name not in parameters]
        problems += [f"{name} is given but not in the mask" for name in parameters if name not in self]
        problems += [
            f"{name} has shape {list(parameters[name].shape)}, its mask {list(kept.shape)}"
            for name, kept in self.items()
            if name in parameters and parameters[name].shape != kept.shape
        ]
        if problems:
            raise ValueError("mask and parameters do not fit: " + "; ".join(problems))


class _Masked(nn.Module):
    """Zero where pruned. Selected, not multiplied: zero times a weight that overflowed is NaN."""

    def __init__(self, kept: Tensor, weight: Tensor):
        super().__init__()
        # In the weight's own memory layout (channels_last), or every forward pass would convert it.
        self.register_buffer("kept", torch.empty_like(weight, dtype=torch.bool).copy_(kept), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.kept, weight, 0.0)


def constrain_weight(module: nn.Module, name: str, constraint: nn.Module) -> None:
    """Parametrize the parameter `name` of `module` by `constraint`, a map from weight to weight."""
    owner, _, tensor = name.rpartition(".")
    parametrize.register_parametrization(module.get_submodule(owner), tensor, constraint)


def release(module: nn.Module) -> None:
    """Remove all constraints from `module`; weights keep their constrained values, under their plain names."""
    for submodule in list(module.modules()):
        if parametrize.is_parametrized(submodule):
            for name in list(submodule.parametrizations):
                parametrize.remove_parametrizations(submodule, name, leave_parametrized=True)
