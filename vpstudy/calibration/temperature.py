"""Temperature scaling: one number, fitted on validation, that makes confidence fit accuracy better."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that minimises the negative log-likelihood of softmax(logits / T) (Guo et al. 2017).

    Parameters
    ----------
    logits
        (N, K), of the validation split: never of the pictures that calibration is then measured on.
    labels
        (N,), integers.

    Returns
    -------
    float
        Between 0.05 and 20. Where every prediction is right the likelihood grows without end as T falls: then 0.05.

    Raises
    ------
    ValueError
        If the shapes do not fit or a logit is not finite.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits have shape {logits.shape} and labels {labels.shape}; expected (N, K) and (N,)")
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity; a diverged run has no temperature")
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    # In 1 / T the loss is convex, so it has a single minimum in log T, too.
    bounds = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    # Where no prediction is wrong it is at the lower bound, but the loss rounds to 0 before, and the search stops.
    return float(np.exp(min(*bounds, found.x, key=loss)))


def apply(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature) as float32 (N, K). The predicted classes stay. Raises ValueError unless T > 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    return softmax(np.asarray(logits, dtype=float) / temperature, axis=1).astype(np.float32)
