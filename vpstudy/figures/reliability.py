"""Reliability of visually prompted models: dense, sparse and quantized backbones beside each other."""

import pandas as pd
from matplotlib.figure import Figure

from vpstudy.figures import cell, compressions, panels, style


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
        f"{cell.READING} Budget: {style.budget_label(budget)}; seeds pooled. ECE: debiased, mean of seeds.",
    )
    return figure
