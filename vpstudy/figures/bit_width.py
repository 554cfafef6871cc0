"""Accuracy and calibration error against the bit width of the weights: does quantization cost anything?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vpstudy.figures import panels, style
from vpstudy.statistics import summarise

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE"}
BESIDE = 0.07  # shift between lines, in bits on a log2 axis, so that their bars do not hide each other


def draw(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """A row for each metric, a column for each target, a line for each method and budget; no pruned backbone.

    Both frames hold one backbone.
    """
    backbone = panels.only_backbone(results, backbones)
    bits = backbones.loc[backbones["sparsity_nominal"] == 0].set_index("compression")["bits"]
    results = results[results["compression"].isin(bits.index)]
    arms = list(results[["method", "budget"]].drop_duplicates().itertuples(index=False, name=None))
    shifts = dict(zip(arms, BESIDE * (np.arange(len(arms)) - (len(arms) - 1) / 2), strict=True))
    targets, chance = list(dict.fromkeys(results["target"])), panels.chance_levels(results)
    figure, axes = style.new_figure(len(METRICS), len(targets), 5.2, sharex=True)
    for (metric, ylabel), row in zip(METRICS.items(), axes, strict=True):
        table = summarise(results, ["target", "method", "budget", "compression"], metric)
        table = table.join(bits, on="compression")
        for target, axis in zip(targets, row, strict=True):
            here = table[table["target"] == target]
            for (method, budget), these in here.groupby(["method", "budget"], sort=False):
                look = style.line(budget, style.method(method).colour)
                these = these.assign(x=shifts[method, budget] - np.log2(these["bits"]))
                panels.series(axis, these, look, bars=True)
            level = chance.get(target) if metric == "accuracy" else 0.0
            if level:
                panels.chance_line(axis, level)
            axis.set_ylim(panels.limits(here, [] if level is None else [level], panels.FLOOR[metric]))
        row[0].set_ylabel(ylabel)
    for target, axis in zip(targets, axes[0], strict=True):
        axis.set_title(target, weight="bold")
    widths = sorted(set(bits), reverse=True)
    for axis in axes[-1]:
        axis.set_xticks(-np.log2(widths), ["32, float" if width == 32 else str(width) for width in widths])
        axis.set_xlabel("bits of a weight")
        axis.margins(x=0.12)
    methods, budgets = style.methods(results["method"]), style.budgets(results["budget"])
    panels.legend_below(figure, panels.method_handles(methods) + panels.budget_handles(budgets))
    seeds = panels.seeds_note(results, "bars")
    style.caption(
        figure,
        f"Accuracy and calibration by bit width of the weights ({backbone})",
        f"Weights rounded after training, activations left as they are. Dotted: chance. {seeds}",
    )
    return figure
