"""Reliability of visually prompted models: dense, sparse and quantized backbones beside each other."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from studies.figures import cell, compressions, panels, style


def draw(results: pd.DataFrame) -> Figure:
    """A row for each target, a column for dense, the sparsest and each bit width, at the largest budget.

    `results` holds one backbone. The ECE above a diagram is the mean over seeds, as in the other figures.
    """
    backbone = panels.only_backbone(results)
    runs = results[results["method"] == "visual_prompting"]
    budget = style.budgets(runs["budget"])[-1]
    runs = runs[runs["budget"] == budget]
    names, targets = compressions.representatives(runs["compression"]), list(dict.fromkeys(runs["target"]))
    figure, axes = style.new_figure(
        2 * len(targets),
        len(names),
        1.0 + 2.0 * len(targets),
        height_ratios=(3, 1) * len(targets),
        sharex=True,
        sharey="row",
    )
    for target, tops, bottoms in zip(targets, axes[::2], axes[1::2], strict=True):
        for name, top, bottom in zip(names, tops, bottoms, strict=True):
            of_cell = runs[(runs["target"] == target) & (runs["compression"] == name)]
            finished = of_cell[of_cell["status"] == "ok"]
            words = "no run finished"
            if len(finished):
                bins = cell.pool(finished["reliability"])
                cell.reliability_panel(top, bottom, bins, compressions.colour(name))
                _draw_band(top, bins["confidence"], bins["count"] // len(finished))
                words = f"ECE {finished['ece_debiased'].mean():.3f}"
            if 0 < len(finished) < len(of_cell):
                words += f", {len(of_cell) - len(finished)} of {len(of_cell)} diverged"
            top.set_title(f"{compressions.short_label(name)}\n{words}" if target == targets[0] else words)
        tops[0].set_ylabel(f"{target}\naccuracy in bin")
        bottoms[0].set_ylabel("share of\npictures")
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    style.caption(
        figure,
        f"Reliability of visual prompts on dense, sparse and quantized backbones ({backbone})",
        f"{cell.READING} Blue: where 95 % of calibrated models lie. "
        f"Budget: {style.budget_label(budget)}; seeds pooled. ECE: debiased, mean of seeds.",
    )
    return figure


def band(confidence: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % range (B,), (B,) of the accuracy in each bin of `count` pictures if it equals `confidence` in truth.

    NaN for bins without pictures.
    """
    some = count > 0
    n, p = np.where(some, count, 1), np.where(some, np.nan_to_num(confidence), 0.5)
    return tuple(np.where(some, binom.ppf(end, n, p) / n, np.nan) for end in (0.025, 0.975))


def _draw_band(axis: Axes, confidence: np.ndarray, count: np.ndarray) -> None:
    """`count` is that of one run: the seeds share their test pictures, so that pooling them makes no more of these."""
    low, high = band(confidence, count)
    width = 1 / len(count)
    centres = (np.arange(len(count)) + 0.5) * width
    axis.vlines(centres, low, high, color="#56B4E9", lw=1.8, zorder=2.5)
