"""Confidence histograms, split by correct and wrong: what does compression do to sureness, where it errs?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from studies.figures import cell, compressions, panels, style

RIGHT, WRONG = style.GREY, style.ALARM  # blue and orange would name two methods


def draw(results: pd.DataFrame) -> Figure:
    """A row for each target, a column for dense, the sparsest and each bit width; prompts at the largest budget.

    `results` holds one backbone. The histograms follow from the reliability bins, seeds pooled.
    """
    backbone = panels.only_backbone(results)
    runs = results[results["method"] == "visual_prompting"]
    budget = style.budgets(runs["budget"])[-1]
    runs = runs[runs["budget"] == budget]
    names, targets = compressions.representatives(runs["compression"]), list(dict.fromkeys(runs["target"]))
    figure, axes = style.new_figure(len(targets), len(names), 1.2 + 1.3 * len(targets), sharex=True, sharey="row")
    for target, row in zip(targets, axes, strict=True):
        for name, axis in zip(names, row, strict=True):
            here = runs[(runs["target"] == target) & (runs["compression"] == name) & (runs["status"] == "ok")]
            if target == targets[0]:
                axis.set_title(compressions.short_label(name))
            if not len(here):
                axis.text(0.5, 0.5, "no run finished", ha="center", va="center", transform=axis.transAxes)
                continue
            right, wrong = counts(here["reliability"])
            total, width = right.sum() + wrong.sum(), 1 / len(right)
            centres = (np.arange(len(right)) + 0.5) * width
            axis.bar(centres, right / total, width, color=RIGHT, edgecolor="white", lw=0.3)
            axis.bar(centres, -wrong / total, width, color=WRONG, edgecolor="white", lw=0.3, hatch="////")
            axis.axhline(0, color="black", lw=0.6)
            axis.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
            axis.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
        row[0].set_ylabel(f"{target}\nshare of pictures")
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    handles = [Patch(color=RIGHT, label="correct (upwards)"), Patch(fc=WRONG, hatch="////", label="wrong (downwards)")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    note = f"Confidence of every test picture, seeds pooled. Budget: {style.budget_label(budget)}."
    shown = runs[runs["compression"].isin(names)]
    if diverged := int((shown["status"] != "ok").sum()):
        note += f" {diverged} of {len(shown)} runs diverged and are left out."
    style.caption(figure, f"How sure visual prompts are when right and when wrong ({backbone})", note)
    return figure


def counts(diagrams) -> tuple[np.ndarray, np.ndarray]:
    """Correct and wrong pictures in each bin of confidence, over several reliability diagrams."""
    bins = cell.pool(list(diagrams))
    right = np.nan_to_num(bins["count"] * bins["accuracy"])
    return right, bins["count"] - right
