"""Accuracy and calibration error by bit width: does quantization cost anything?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, panels, style
from studies.statistics import summarise
from vpstudy.compression.names import parse

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE"}
BESIDE = 0.07  # shift between lines, in ticks, so that their bars do not hide each other


def draw(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """A row for each metric, a column for each target, a line for each method and budget; no pruned backbone.

    Both frames hold one backbone.
    """
    backbone = panels.only_backbone(results, backbones)
    names = compressions.ordered(backbones.loc[backbones["sparsity_nominal"] == 0, "compression"])
    place = pd.Series(range(len(names)), names, name="place", dtype=float)
    results = results[results["compression"].isin(names)]
    arms = list(results[["method", "budget"]].drop_duplicates().itertuples(index=False, name=None))
    shifts = dict(zip(arms, BESIDE * (np.arange(len(arms)) - (len(arms) - 1) / 2), strict=True))
    targets, chance = list(dict.fromkeys(results["target"])), panels.chance_levels(results)
    figure, axes = style.new_figure(len(METRICS), len(targets), 5.2, sharex=True)
    for (metric, ylabel), row in zip(METRICS.items(), axes, strict=True):
        table = summarise(results, ["target", "method", "budget", "compression"], metric)
        table = table.join(place, on="compression")
        for target, axis in zip(targets, row, strict=True):
            here = table[table["target"] == target]
            for (method, budget), these in here.groupby(["method", "budget"], sort=False):
                look = style.line(budget, style.method(method).colour)
                these = these.assign(x=shifts[method, budget] + these["place"])
                weights_alone = these["compression"].map(lambda name: parse(name).activation_bits is None)
                panels.series(axis, these[weights_alone], look, bars=True)
                panels.points(axis, these[~weights_alone], look)
            level = chance.get(target) if metric == "accuracy" else 0.0
            if level:
                panels.chance_line(axis, level)
            axis.set_ylim(panels.limits(here, [] if level is None else [level], panels.FLOOR[metric]))
        row[0].set_ylabel(ylabel)
    for target, axis in zip(targets, axes[0], strict=True):
        axis.set_title(target, weight="bold")
    for axis in axes[-1]:
        turned = {"rotation": 45, "ha": "right"} if len(names) > 4 else {}
        axis.set_xticks(range(len(names)), [compressions.short_label(name) for name in names], **turned)
        axis.margins(x=0.12)
    methods, budgets = style.methods(results["method"]), style.budgets(results["budget"])
    panels.legend_below(figure, panels.method_handles(methods) + panels.budget_handles(budgets))
    seeds = panels.seeds_note(results, "bars")
    style.caption(
        figure,
        f"Accuracy and calibration by bit width ({backbone})",
        f"Hollow: what enters each layer is rounded, too. Dotted: chance. {seeds}",
    )
    return figure
