"""Histogram of the weights of a backbone from `weights`."""

import numpy as np
from matplotlib.figure import Figure

from studies.backbones.figures import COLOUR
from studies.figures import style


def histogram(weights, bins: int = 81) -> Figure:
    """Prunable weights, any shape. Zeros are only counted: their bar would dwarf all others."""
    weights = np.asarray(weights).ravel()
    edges = np.linspace(-1, 1, bins + 1) * np.quantile(np.abs(weights), 0.999)
    figure, ((axis,),) = style.new_figure(1, 1, 2.9)
    axis.hist(weights[weights != 0], edges, color=COLOUR, histtype="stepfilled", lw=0)
    axis.set(xlabel="weight", ylabel="number of weights (log scale)", yscale="log")
    zeros = f"{100 * np.mean(weights == 0):.1f} % are zero, and left out; so is the outermost 0.1 %."
    style.caption(figure, "Weights of every layer but the classifier", zeros)
    return figure
