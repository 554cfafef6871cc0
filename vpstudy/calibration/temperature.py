"""Temperature scaling: one number, fitted on validation, that brings confidence closer to accuracy."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

NEGLIGIBLE = 1e-12  # of the scale of the logits


class Fitted(NamedTuple):
    """A temperature; where the likelihood has no maximum it is 1, which scales nothing, and `problem` says why."""

    temperature: float
    problem: str | None = None


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Fitted:
    """Temperature T > 0 that minimises the weighted negative log-likelihood of softmax(logits / T) (Guo et al. 2017).

    `logits` (N, K) and integer `labels` (N,) are of the validation split, never of the pictures on which calibration is
    measured. `weights` (N,) are those of `class_weights`, by default equal. Logits times a factor give T times that
    factor. Raises ValueError if the shapes do not fit or a logit is not finite.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits have shape {logits.shape} and labels {labels.shape}; expected (N, K) and (N,)")
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity; a diverged run has no temperature")
    weights = np.full(len(labels), 1 / len(labels)) if weights is None else weights / np.sum(weights)
    above = logits - logits[np.arange(len(labels)), labels, None]  # of each class, over the right one
    scale = np.abs(above).max()
    # The loss is convex in 1 / T; its slope rises from the first of these, at 1 / T = 0, to the second.
    if weights @ above.mean(1) >= -NEGLIGIBLE * scale:
        return Fitted(1.0, "the right class scores no higher than others on average, so no temperature is high enough")
    if weights @ above.max(1) <= NEGLIGIBLE * scale:
        return Fitted(1.0, "every prediction on validation is right, so no temperature is low enough")

    def slope(log_sharpness: float) -> float:  # sharpness: scale / T
        return weights @ (softmax(above * (np.exp(log_sharpness) / scale), axis=1) * above).sum(1)

    low, high = -1.0, 1.0
    while slope(low) > 0:
        low *= 2
    while slope(high) < 0:
        high *= 2
    return Fitted(float(scale / np.exp(brentq(slope, low, high))))


def class_weights(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Importance weights (N,) with which pictures of `labels` (N,) stand for a set with class `shares` (K,).

    A weight is the share of the class there over that among `labels`. This corrects a shift of the classes alone:
    without it, a balanced validation split teaches a temperature for another mix of classes than the test set has.
    """
    counts = np.bincount(labels, minlength=len(shares))
    return shares[labels] * len(labels) / counts[labels]


def apply(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature), float32 (N, K); predictions do not change. Raises ValueError unless T > 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    return softmax(np.asarray(logits, dtype=float) / temperature, axis=1).astype(np.float32)
