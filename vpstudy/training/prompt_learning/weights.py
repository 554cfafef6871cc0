"""A prompt's weights during training: spread, shape, outliers."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from torch import Tensor

from vpstudy.prompts.codebook import standardise

EDGES = np.linspace(-4, 4, 33)  # of histograms of standardised weights; outliers count in the outer bins


def stages(contexts: Sequence[Tensor], epochs: Sequence[int]) -> list[dict[str, float | int | None]]:
    """Statistics of the prompt's weights at each stage of a training; the first stage is its start.

    Each dict has the epoch, sigma (deviation of the weights) and, of the standardised weights: kurtosis (excess),
    beyond_3 (share beyond three deviations), ks (Kolmogorov–Smirnov distance to the start) and kl (KL divergence in
    nats from the histogram of the stage before, half a count added to each bin; None at the start).
    """
    values = [standardise(context.double())[0].flatten().cpu().numpy() for context in contexts]
    histograms = [histogram(each) for each in values]
    found = []
    for k, (context, epoch) in enumerate(zip(contexts, epochs, strict=True)):
        found.append(
            {
                "epoch": epoch,
                "sigma": float(context.std(correction=0)),
                "kurtosis": float(stats.kurtosis(values[k])),
                "beyond_3": float((np.abs(values[k]) > 3).mean()),
                "ks": float(stats.ks_2samp(values[k], values[0]).statistic),
                "kl": float(stats.entropy(histograms[k] + 0.5, histograms[k - 1] + 0.5)) if k else None,
            }
        )
    return found


def histogram(standardised: np.ndarray) -> np.ndarray:
    """Counts (32,) between `EDGES`."""
    return np.histogram(np.clip(standardised, EDGES[0], EDGES[-1]), EDGES)[0]
