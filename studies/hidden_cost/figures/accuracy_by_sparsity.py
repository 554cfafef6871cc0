"""Accuracy against sparsity: does pruning cost more when the backbone is prompted than when it is probed?"""

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import panels
from studies.hidden_cost.figures.sparsity_grid import draw_grid


def draw(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """Test accuracy, target by method, one line a budget, with chance. Both frames hold one backbone."""
    return draw_grid(
        results,
        backbones,
        metric="accuracy",
        ylabel="test accuracy",
        title="Accuracy against sparsity",
        reading="Lines: {}, by training pictures per class.",
        levels=panels.chance_levels(results),
    )
