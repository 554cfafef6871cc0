"""The "calibration error" that the code of arXiv 2308.14969 logs, which is none: see `legacy_ece`."""

import numpy as np

BINS = 15


def legacy_ece(logits: np.ndarray, labels: np.ndarray, batch: int) -> float:
    """(1 / N) Σ over batches of E(batch), where E takes raw logits for probabilities.

    The "confidence" of a picture is its largest logit. Values up to 1/15, also negative ones, fall into the first of 15
    bins, values above 14/15, also above 1, into the last; E = Σ over bins (n_bin / n) |mean correct − mean
    "confidence"|. The result shrinks about as 1 / batch and follows the scale of the logits. Reported beside
    calibration errors, never in their place. `logits` are (N, K), integer `labels` (N,). Raises ValueError if shapes do
    not fit or batch is below 1.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits have shape {logits.shape} and labels {labels.shape}; expected (N, K) and (N,)")
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be at least 1")
    largest, correct = logits.max(1), (logits.argmax(1) == labels).astype(float)
    index = np.searchsorted(np.arange(1, BINS) / BINS, largest)  # a value on an edge falls below it
    total = 0.0
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        gaps = np.bincount(index[part], correct[part] - largest[part])
        total += np.abs(gaps).sum() / len(labels[part])
    return float(total / len(labels))
