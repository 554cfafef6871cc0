"""Label mappings from source to target classes. Imports torch late, for the command line.

A one-to-one mapping is an int64 array (K,): entry t is the source class for target class t, each used at most once. A
weighted mapping is a matrix (S, K).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


class Estimate(NamedTuple):
    """A mapping, and what speaks for it."""

    mapping: np.ndarray | Tensor  # (K,) or weights (S, K)
    # (K,): the count of each target class at its source class (weighted: at that of the largest weight). At 0 there is
    # no evidence: the source class says nothing about the target class.
    evidence: np.ndarray


@dataclass(frozen=True)
class Mapping:
    """How source logits become target logits."""

    label: str  # in figures and tables
    # from source logits (N, S), labels (N,) and K; None: the random start stays
    estimate: Callable[[Tensor, Tensor, int], Estimate] | None = None
    iterative: bool = False  # re-estimated during training from its predictions
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


def frequency_mapping(counts: np.ndarray, mean_logits: np.ndarray | None = None) -> np.ndarray:
    """Greedy one-to-one mapping (K,) from a count matrix (S, K). Raises ValueError if K > S.

    The largest count maps its target class to its source class and removes both, until all target classes are mapped.
    Ties, zeros included, go to the largest of `mean_logits` (S, K), the mean source logits of each target class's
    pictures; what is still tied goes to the lowest source class, then to the lowest target class.
    """
    n_source, n_target = counts.shape
    _check_sizes(n_source, n_target)
    logits = np.zeros(counts.shape) if mean_logits is None else mean_logits
    order = np.lexsort((-logits.ravel(), -counts.ravel().astype(np.float64)))  # stable: by source, then target
    mapping, free = np.full(n_target, -1, dtype=np.int64), np.ones(n_source, dtype=bool)
    unmapped = n_target
    for source, target in zip(*(index.tolist() for index in np.divmod(order, n_target)), strict=True):
        if free[source] and mapping[target] < 0:
            mapping[target], free[source] = source, False
            unmapped -= 1
            if not unmapped:
                break
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


def frequency(logits: Tensor, labels: Tensor, n_target: int) -> Estimate:
    """The frequency mapping of source logits (N, S) and target labels (N,)."""
    from torch.nn.functional import one_hot

    counts = count_matrix(logits.argmax(1), labels, logits.shape[1], n_target)
    of_class = one_hot(labels, n_target).double()
    means = logits.double().T @ of_class / of_class.sum(0).clamp(min=1)
    mapping = frequency_mapping(counts, means.cpu().numpy())
    return Estimate(mapping, counts[mapping, np.arange(n_target)])


def _weighted(counts: Tensor) -> Estimate:
    weights = bayesian_mapping(counts)
    return Estimate(weights, counts.gather(0, weights.argmax(0, keepdim=True))[0].cpu().numpy())


def _bayesian(logits: Tensor, labels: Tensor, n_target: int) -> Estimate:
    from torch import from_numpy

    return _weighted(from_numpy(count_matrix(logits.argmax(1), labels, logits.shape[1], n_target)).double())


def _bayesian_plus(logits: Tensor, labels: Tensor, n_target: int) -> Estimate:
    return _weighted(soft_counts(logits.softmax(1), labels, n_target))


def _linear(logits: Tensor, labels: Tensor, n_target: int) -> Estimate:
    """Starts as the frequency mapping; the layer learns from every picture of a class, so each is evidence."""
    counts = np.bincount(labels.cpu().numpy(), minlength=n_target)
    return Estimate(frequency(logits, labels, n_target).mapping, counts)


MAPPINGS = {
    "random": Mapping("random mapping"),
    "frequency": Mapping("frequency mapping", frequency),
    "iterative": Mapping("iterative mapping", frequency, iterative=True),  # ILM-VP (Chen et al., CVPR 2023)
    "bayesian": Mapping("Bayesian mapping", _bayesian, iterative=True, weighted=True),
    "bayesian_plus": Mapping("Bayesian mapping +", _bayesian_plus, iterative=True, weighted=True),
    "linear": Mapping("linear output", _linear, learned=True),
}
