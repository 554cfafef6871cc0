"""Figures of the backbone notebooks: loss, glyphs, sparsity by layer, weights before and after."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from studies.figures import style

COLOUR = "#0072B2"


def loss_curve(losses: Mapping[str, Sequence[float]], window: int = 25) -> Figure:
    """Training loss by step, a line for each run: thin raw, thick averaged over `window` steps."""
    figure, ((axis,),) = style.new_figure(1, 1, 2.9)
    for (name, values), colour in zip(losses.items(), sns.color_palette("viridis", len(losses)), strict=True):
        width = min(window, len(values))
        smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
        axis.plot(np.arange(1, len(values) + 1), values, color=colour, alpha=0.3, lw=0.5)
        axis.plot(np.arange(width, len(values) + 1), smooth, color=colour, label=name)
    axis.set(xlabel="step", ylabel="cross-entropy (nats, log scale)", yscale="log")
    axis.margins(x=0)
    if len(losses) > 1:
        figure.legend(loc="outside right center")
    style.caption(figure, "Training loss on the source task", f"Thick: running mean over {window} steps.")
    return figure


def sparsity_by_layer(layers: Mapping[str, float], overall: float) -> Figure:
    """Share of weights pruned in each layer, first to last, with a line at the overall share."""
    figure, ((axis,),) = style.new_figure(1, 1, 1.0 + 0.17 * len(layers))
    axis.barh(range(len(layers)), [100 * share for share in layers.values()], color=COLOUR, height=0.75, lw=0)
    axis.axvline(100 * overall, color=style.ALARM, ls="--", lw=1.2)
    axis.set_yticks(range(len(layers)), list(layers))
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.set(xlabel="pruned weights (%)", xlim=(0, 100))
    style.caption(figure, "Sparsity by layer", f"From input to output. Dashed: {100 * overall:.1f} % of all weights.")
    return figure


def weight_histogram(before, after, bins: int = 81) -> Figure:
    """Weights before and after compression, any shape; zeros are only counted, as their bar would dwarf all others."""
    before, after = np.asarray(before).ravel(), np.asarray(after).ravel()
    edges = np.linspace(-1, 1, bins + 1) * np.quantile(np.abs(before), 0.999)
    zeros = f"after: {100 * np.mean(after == 0):.1f} % are zero, the others"
    figure, (axes,) = style.new_figure(1, 2, 2.9, sharex=True, sharey=True)
    for axis, weights, words in zip(axes, (before, after[after != 0]), ("before", zeros), strict=True):
        axis.hist(weights, edges, color=COLOUR, histtype="stepfilled", lw=0)
        axis.set(title=words, xlabel="weight", yscale="log")
    axes[0].set_ylabel("number of weights (log scale)")
    style.caption(figure, "Weights before and after compression")
    return figure
