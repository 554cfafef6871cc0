"""Label mappings: which source class, or which weights of all source classes, stand for each target class.

A one-to-one mapping is an int64 array (K,): entry t is the source class that stands for target class t, and no source
class is used twice. A weighted one is a matrix (S, K). Free of torch until a mapping is made, for the command line.
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
    """How source logits become target logits.

    Attributes
    ----------
    label
        In figures and tables.
    estimate
        From source logits (N, S), labels (N,) and K to a mapping; None: it stays as drawn at random.
    each_epoch
        Re-estimated after each epoch, from that epoch's training predictions.
    weighted
        `estimate` gives weights (S, K), not a one-to-one mapping (K,).
    learned
        `estimate` is where a linear layer starts, which is then trained with the prompt.
    """

    label: str
    estimate: Callable[[Tensor, Tensor, int], np.ndarray | Tensor] | None = None
    each_epoch: bool = False
    weighted: bool = False
    learned: bool = False


def random_mapping(n_source: int, n_target: int, seed: int) -> np.ndarray:
    """A random one-to-one mapping (K,). Raises ValueError if there are more target than source classes."""
    _check_sizes(n_source, n_target)
    return np.random.default_rng(seed).permutation(n_source)[:n_target].astype(np.int64)


def count_matrix(predictions: Tensor, labels: Tensor, n_source: int, n_target: int) -> np.ndarray:
    """How often each source class was predicted (N,) for each target class (N,): (S, K) int64."""
    pairs = (predictions * n_target + labels).cpu().numpy()
    return np.bincount(pairs, minlength=n_source * n_target).reshape(n_source, n_target)


def frequency_mapping(counts: np.ndarray) -> np.ndarray:
    """The greedy one-to-one mapping (K,) on a count matrix (S, K).

    The largest entry maps its target class to its source class and retires both, and so on until every target
    class has a source class. Among equal entries, zeros too, the lowest source class goes first, then the
    lowest target class; at one shot a class this decides much of the mapping. Raises ValueError if K > S.
    """
    n_source, n_target = counts.shape
    _check_sizes(n_source, n_target)
    sources, targets = np.nonzero(counts)  # by source, then target: a stable sort keeps that among ties
    order = np.argsort(-counts[sources, targets].astype(np.float64), kind="stable")
    mapping = np.full(n_target, -1, dtype=np.int64)
    free = np.ones(n_source, dtype=bool)
    for source, target in zip(sources[order].tolist(), targets[order].tolist(), strict=True):
        if free[source] and mapping[target] < 0:
            mapping[target] = source
            free[source] = False
    # only zeros are left between free classes: the tie rule pairs them off in ascending order
    unmapped = np.flatnonzero(mapping < 0)
    mapping[unmapped] = np.flatnonzero(free)[: len(unmapped)]
    return mapping


def bayesian_mapping(counts: Tensor, laplace: float = 1.0) -> Tensor:
    """The weights (S, K), float32, of BLM (Cai et al., NeurIPS 2024) on a count matrix (S, K), float64.

    Entry (s, t) is the share of target class t among the training pictures taken for source class s, smoothed in the
    denominator as the authors do, count(s, t) / (count(s) + laplace); each column is then scaled to a sum of 1. A
    target class without any count weighs all source classes alike.
    """
    shares = counts / (counts.sum(1, keepdim=True) + laplace)
    return (shares / shares.sum(0)).nan_to_num(1 / len(counts)).float()


def soft_counts(probabilities: Tensor, labels: Tensor, n_target: int, top_ratio: float = 0.15) -> Tensor:
    """The count matrix (S, K), float64, of BLM+, from source probabilities (N, S) and labels (N,).

    A picture counts with the probabilities of its floor(top_ratio · K) likeliest source classes, at least one of them.
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
