"""Temperature scaling: one number, fitted on validation, that brings confidence closer to accuracy."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature T that minimises the negative log-likelihood of softmax(logits / T) (Guo et al. 2017).

    `logits` (N, K) and integer `labels` (N,) are of the validation split, never of the pictures on which calibration is
    measured. T is between 0.05 and 20; if every prediction is right the likelihood grows as T falls, and T is 0.05.
    Raises ValueError if the shapes do not fit or a logit is not finite.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits have shape {logits.shape} and labels {labels.shape}; expected (N, K) and (N,)")
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity; a diverged run has no temperature")
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    # The loss is convex in 1 / T, so it has a single minimum in log T too.
    bounds = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    # If no prediction is wrong, it is at the lower bound, but the loss rounds to 0 before and the search stops.
    return float(np.exp(min(*bounds, found.x, key=loss)))


def apply(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature), float32 (N, K); predictions do not change. Raises ValueError unless T > 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    return softmax(np.asarray(logits, dtype=float) / temperature, axis=1).astype(np.float32)
