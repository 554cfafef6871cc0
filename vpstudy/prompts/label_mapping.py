"""Label mappings from source to target classes. Imports torch late, for the command line.

A one-to-one mapping is an int64 array (K,): entry t is the source class for target class t, each used at most once. A
weighted mapping is a matrix (S, K).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


@dataclass(frozen=True)
class Mapping:
    """How source logits become target logits."""

    label: str  # in figures and tables
    # source logits (N, S), labels (N,), K -> mapping (K,) or weights (S, K); None: the random start stays
    estimate: Callable[[Tensor, Tensor, int], np.ndarray | Tensor] | None = None
    each_epoch: bool = False  # re-estimate from each epoch's training predictions
    weighted: bool = False  # `estimate` gives weights (S, K)
    learned: bool = False  # `estimate` initialises a linear layer, trained with the prompt


def random_mapping(n_source: int, n_target: int, seed: int) -> np.ndarray:
    """A random one-to-one mapping (K,). Raises ValueError if there are more target than source classes."""
    _check_sizes(n_source, n_target)
    return np.random.default_rng(seed).permutation(n_source)[:n_target].astype(np.int64)


def count_matrix(predictions: Tensor, labels: Tensor, n_source: int, n_target: int) -> np.ndarray:
    """Count matrix (S, K), int64, of source predictions (N,) and target labels (N,)."""
    pairs = (predictions * n_target + labels).cpu().numpy()
    return np.bincount(pairs, minlength=n_source * n_target).reshape(n_source, n_target)


def frequency_mapping(counts: np.ndarray) -> np.ndarray:
    """Greedy one-to-one mapping (K,) from a count matrix (S, K). Raises ValueError if K > S.

    The largest count maps its target class to its source class and removes both, until all target classes are mapped.
    Ties, zeros included, go to the lowest source class, then the lowest target class; at one shot a class this decides
    much of the mapping.
    """
    n_source, n_target = counts.shape
    _check_sizes(n_source, n_target)
    sources, targets = np.nonzero(counts)  # by source, then target; the stable sort keeps this order among ties
    order = np.argsort(-counts[sources, targets].astype(np.float64), kind="stable")
    mapping = np.full(n_target, -1, dtype=np.int64)
    free = np.ones(n_source, dtype=bool)
    for source, target in zip(sources[order].tolist(), targets[order].tolist(), strict=True):
        if free[source] and mapping[target] < 0:
            mapping[target] = source
            free[source] = False
    # only zero counts remain: the tie rule pairs free classes in ascending order
    unmapped = np.flatnonzero(mapping < 0)
    mapping[unmapped] = np.flatnonzero(free)[: len(unmapped)]
    return mapping


def bayesian_mapping(counts: Tensor, laplace: float = 1.0) -> Tensor:
    """Weights (S, K), float32, of BLM (Cai et al., NeurIPS 2024) from a count matrix (S, K), float64.

    The weights count(s, t) / (count(s) + laplace), smoothed in the denominator as the authors do, are scaled so that
    each column sums to 1. A target class without counts weighs all source classes equally.
    """
    shares = counts / (counts.sum(1, keepdim=True) + laplace)
    return (shares / shares.sum(0)).nan_to_num(1 / len(counts)).float()


def soft_counts(probabilities: Tensor, labels: Tensor, n_target: int, top_ratio: float = 0.15) -> Tensor:
    """Count matrix (S, K), float64, of BLM+ from source probabilities (N, S) and labels (N,).

    Each picture adds the probabilities of its max(1, ⌊top_ratio · K⌋) likeliest source classes.
    """
    from torch.nn.functional import one_hot

    top = probabilities.topk(max(1, int(top_ratio * n_target)), dim=1)
    kept = probabilities.new_zeros(probabilities.shape).scatter_(1, top.indices, top.values)
    return kept.T.double() @ one_hot(labels, n_target).double()


def _check_sizes(n_source: int, n_target: int) -> None:
    if not 1 <= n_target <= n_source:
        raise ValueError(
            f"{n_target} target classes for {n_source} source classes; a one-to-one mapping needs"
            " at least one target class and no more of them than source classes"
        )


def _frequency(logits: Tensor, labels: Tensor, n_target: int) -> np.ndarray:
    return frequency_mapping(count_matrix(logits.argmax(1), labels, logits.shape[1], n_target))


def _bayesian(logits: Tensor, labels: Tensor, n_target: int) -> Tensor:
    from torch import from_numpy

    return bayesian_mapping(from_numpy(count_matrix(logits.argmax(1), labels, logits.shape[1], n_target)).double())


def _bayesian_plus(logits: Tensor, labels: Tensor, n_target: int) -> Tensor:
    return bayesian_mapping(soft_counts(logits.softmax(1), labels, n_target))


MAPPINGS = {
    "random": Mapping("random mapping"),
    "frequency": Mapping("frequency mapping", _frequency),
    "iterative": Mapping("iterative mapping", _frequency, each_epoch=True),  # ILM-VP (Chen et al., CVPR 2023)
    "bayesian": Mapping("Bayesian mapping", _bayesian, each_epoch=True, weighted=True),
    "bayesian_plus": Mapping("Bayesian mapping +", _bayesian_plus, each_epoch=True, weighted=True),
    "linear": Mapping("linear output", _frequency, learned=True),
}
