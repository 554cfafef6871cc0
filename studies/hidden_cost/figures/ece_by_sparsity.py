"""Calibration error against sparsity: does pruning make confidence a worse guide?"""

import pandas as pd
from matplotlib.figure import Figure

from studies.hidden_cost.figures.sparsity_grid import draw_grid


def draw(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """Debiased expected calibration error in the grid of the accuracy figure; frames of one backbone."""
    return draw_grid(
        results,
        backbones,
        metric="ece_debiased",
        ylabel="debiased ECE",
        title="Calibration error against sparsity",
        reading="Expected calibration error, top label; 0 is perfect. Lines: {}.",
        levels=dict.fromkeys(results["target"], 0.0),
    )
