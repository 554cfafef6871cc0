"""What happens to a prompt's weights while it learns: spread, shape, outliers."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from torch import Tensor

from vpstudy.prompts.codebook import standardise

EDGES = np.linspace(-4, 4, 33)  # of histograms of standardised weights; what lies outside counts in the last bins


def stages(contexts: Sequence[Tensor], epochs: Sequence[int]) -> list[dict[str, float | int | None]]:
    """For each stage of a training, the first being its start: measures of the prompt's weights.

    Returns
    -------
    list of dict
        epoch; sigma, the deviation of the weights; of the standardised weights: kurtosis (excess), beyond_3 (share
        beyond three deviations), ks (Kolmogorov–Smirnov distance to those at the start), kl (nats, of the histogram to
        that of the stage before, half a count added to each bin; None at the start).
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
