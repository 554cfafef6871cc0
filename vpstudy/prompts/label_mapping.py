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

Array = Any  # a NumPy array or a torch tensor


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
    estimate: Callable[["Tensor", "Tensor", int], Array] | None = None
    each_epoch: bool = False
    weighted: bool = False
    learned: bool = False


def random_mapping(n_source: int, n_target: int, seed: int) -> np.ndarray:
    """A random one-to-one mapping (K,) of `n_target` target classes into `n_source` source classes.

    Raises ValueError if there are more target than source classes.
    """
    _check_sizes(n_source, n_target)
    return np.random.default_rng(seed).permutation(n_source)[:n_target].astype(np.int64)


def count_matrix(source_predictions: Array, labels: Array, n_source: int, n_target: int) -> np.ndarray:
    """How often each source class was predicted for each target class: (S, K) int64.

    source_predictions (N,): argmax over source logits, 0 ... S-1; labels (N,): target classes, 0 ... K-1.
    Raises ValueError for unequal lengths, fractional or out-of-range classes.
    """
    predictions = _classes(source_predictions, n_source, "source_predictions")
    targets = _classes(labels, n_target, "labels")
    if len(predictions) != len(targets):
        raise ValueError(f"{len(predictions)} source_predictions, {len(targets)} labels; expected one each")
    counts = np.bincount(predictions * n_target + targets, minlength=n_source * n_target)
    return counts.reshape(n_source, n_target)


def frequency_mapping(counts: Array) -> np.ndarray:
    """The greedy one-to-one mapping (K,) on a count matrix (S, K).

    The largest entry maps its target class to its source class and retires both, and so on until every target
    class has a source class. Among equal entries, zeros too, the lowest source class goes first, then the
    lowest target class; at one shot a class this decides much of the mapping.

    Raises ValueError if the counts are not a matrix of finite numbers >= 0, or if K > S.
    """
    counts = _as_numpy(counts)
    if counts.ndim != 2:
        raise ValueError(f"counts have shape {counts.shape}; expected (source classes, target classes)")
    _check_sizes(*counts.shape)
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(f"counts run from {counts.min()} to {counts.max()}; expected finite numbers >= 0")
    n_source, n_target = counts.shape
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


def bayesian_mapping(counts: Array, laplace: float = 1.0) -> "Tensor":
    """The probabilistic mapping (S, K) of BLM (Cai et al., NeurIPS 2024) on a count matrix (S, K).

    Entry (s, t) is the share of target class t among the training pictures taken for source class s, smoothed in the
    denominator as the authors do, count(s, t) / (count(s) + laplace); each column is then scaled to a sum of 1: target
    logits are these weighted means of source logits, `logits @ mapping`. A target class without any count weighs all
    source classes alike.

    Raises ValueError if the counts are not a matrix of finite numbers >= 0, or laplace is not above 0.
    """
    import torch

    counts = torch.as_tensor(counts, dtype=torch.float64)
    if counts.ndim != 2 or not bool((torch.isfinite(counts) & (counts >= 0)).all()):
        raise ValueError(f"counts have shape {tuple(counts.shape)}; expected a matrix of finite numbers >= 0")
    if not laplace > 0:
        raise ValueError(f"laplace is {laplace}; it must be above 0")
    shares = counts / (counts.sum(1, keepdim=True) + laplace)
    return torch.where(shares.sum(0) > 0, shares / shares.sum(0), 1 / len(counts)).float()


def bayesian_mapping_plus(
    probabilities: "Tensor", labels: "Tensor", n_target: int, laplace: float = 1.0, top_ratio: float = 0.15
) -> "Tensor":
    """The mapping (S, K) of BLM+: `bayesian_mapping` on soft counts instead of the most likely class alone.

    A picture counts with the probabilities of its floor(top_ratio · K) likeliest source classes, at least one of them.

    Parameters
    ----------
    probabilities
        (N, S), of the source classes.
    labels
        (N,), target classes.
    """
    import torch

    labels = torch.as_tensor(labels)
    if len(probabilities) != len(labels):
        raise ValueError(f"{len(probabilities)} rows of probabilities, {len(labels)} labels; expected one each")
    top = probabilities.topk(max(1, int(top_ratio * n_target)), dim=1)
    kept = torch.zeros_like(probabilities).scatter_(1, top.indices, top.values)
    counts = kept.T.double() @ torch.nn.functional.one_hot(labels, n_target).double()
    return bayesian_mapping(counts, laplace)


def _check_sizes(n_source: int, n_target: int) -> None:
    if not 1 <= n_target <= n_source:
        raise ValueError(
            f"{n_target} target classes for {n_source} source classes; a one-to-one mapping needs"
            " at least one target class and no more of them than source classes"
        )


def _classes(values: Array, n_classes: int, name: str) -> np.ndarray:
    classes = _as_numpy(values)
    if classes.ndim != 1 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"{name} are {classes.dtype} of shape {classes.shape}; expected integers, (N,)")
    if len(classes) and (classes.min() < 0 or classes.max() >= n_classes):
        bounds = f"{classes.min()} to {classes.max()}"
        raise ValueError(f"{name} run from {bounds}; allowed are 0 to {n_classes - 1}")
    return classes.astype(np.int64)


def _as_numpy(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _counted(logits: "Tensor", labels: "Tensor", n_target: int) -> np.ndarray:
    return count_matrix(logits.argmax(1), labels, logits.shape[1], n_target)


def _frequency(logits: "Tensor", labels: "Tensor", n_target: int) -> np.ndarray:
    return frequency_mapping(_counted(logits, labels, n_target))


def _bayesian(logits: "Tensor", labels: "Tensor", n_target: int) -> "Tensor":
    return bayesian_mapping(_counted(logits, labels, n_target))


def _bayesian_plus(logits: "Tensor", labels: "Tensor", n_target: int) -> "Tensor":
    return bayesian_mapping_plus(logits.softmax(1), labels, n_target)


MAPPINGS = {
    "random": Mapping("random mapping"),
    "frequency": Mapping("frequency mapping", _frequency),
    "iterative": Mapping("iterative mapping", _frequency, each_epoch=True),  # ILM-VP (Chen et al., CVPR 2023)
    "bayesian": Mapping("Bayesian mapping", _bayesian, each_epoch=True, weighted=True),
    "bayesian_plus": Mapping("Bayesian mapping +", _bayesian_plus, each_epoch=True, weighted=True),
    "linear": Mapping("linear output", _frequency, learned=True),
}
