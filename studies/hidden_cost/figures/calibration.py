"""Reliability and confidence of visually prompted models, and the legacy quantity of the paper's code."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import stats

from studies.figures import cell, compressions, dots, panels, style

RIGHT, WRONG, CALIBRATED = style.GREY, style.ALARM, "#56B4E9"


def _shown(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str], str]:
    """Prompted runs at the largest budget on representative compressions; compressions, targets, budget note."""
    runs, budget = panels.at_largest_budget(results[results["method"] == "visual_prompting"])
    names = compressions.representatives(runs["compression"])
    return runs[runs["compression"].isin(names)], names, list(dict.fromkeys(runs["target"])), budget


def _panels(runs: pd.DataFrame, targets: list[str], names: list[str], axes) -> Iterator[tuple]:
    """Yield (target, compression, axis, runs of both); sets the column titles and x labels."""
    for name, top, bottom in zip(names, axes[0], axes[-1], strict=True):
        top.set_title(compressions.short_label(name))
        bottom.set_xlabel("confidence")
    for target, row in zip(targets, axes, strict=True):
        for name, axis in zip(names, row, strict=True):
            yield target, name, axis, runs[(runs["target"] == target) & (runs["compression"] == name)]


def reliability(results: pd.DataFrame) -> Figure:
    """Reliability diagrams, targets × representative compressions; one backbone, largest budget."""
    backbone = panels.only_backbone(results)
    runs, names, targets, budget = _shown(results)
    height, ratios = 1.0 + 2.0 * len(targets), (3, 1) * len(targets)
    shared = {"height_ratios": ratios, "sharex": True, "sharey": "row"}
    figure, axes = style.new_figure(2 * len(targets), len(names), height, **shared)
    below = {
        (t, n): axis for t, row in zip(targets, axes[1::2], strict=True) for n, axis in zip(names, row, strict=True)
    }
    for target, name, axis, of_cell in _panels(runs, targets, names, axes[::2]):
        bottom, finished = below[target, name], of_cell[of_cell["status"] == "ok"]
        axis.set_xlabel("")
        words = "no run finished"
        if len(finished):
            bins = cell.pool(finished["reliability"])
            cell.reliability_panel(axis, bottom, bins, compressions.colour(name))
            low, high = band(bins["confidence"], bins["count"] // len(finished))  # seeds share test pictures
            axis.vlines((np.arange(len(low)) + 0.5) / len(low), low, high, color=CALIBRATED, lw=1.8, zorder=2.5)
            # the mean over seeds, as in the other figures, though bins are pooled
            words = f"ECE {finished['ece_debiased'].mean():.3f}"
        if 0 < len(finished) < len(of_cell):
            words += f", {len(of_cell) - len(finished)} of {len(of_cell)} diverged"
        axis.set_title(f"{axis.get_title()}\n{words}".strip())
        if name == names[0]:
            axis.set_ylabel(f"{target}\naccuracy in bin")
            bottom.set_ylabel("share of\npictures")
        if target == targets[-1]:
            bottom.set_xlabel("confidence")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    title = f"Reliability of visual prompts on dense, sparse and quantized backbones ({backbone})"
    note = (
        f"{cell.READING} Blue: where 95 % of calibrated models lie. {budget} Seeds pooled; ECE: debiased, their mean."
    )
    style.caption(figure, title, note)
    return figure


def band(confidence: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % range (B,), (B,) of the accuracy in each bin of a calibrated model; NaN for empty bins."""
    some = count > 0
    n, p = np.where(some, count, 1), np.where(some, np.nan_to_num(confidence), 0.5)
    return tuple(np.where(some, stats.binom.ppf(end, n, p) / n, np.nan) for end in (0.025, 0.975))


def confidence(results: pd.DataFrame) -> Figure:
    """Histograms of confidence, correct and wrong; rows, columns and runs as in `reliability`."""
    backbone = panels.only_backbone(results)
    runs, names, targets, budget = _shown(results)
    height = 1.2 + 1.3 * len(targets)
    figure, axes = style.new_figure(len(targets), len(names), height, sharex=True, sharey="row")
    for target, name, axis, of_cell in _panels(runs, targets, names, axes):
        finished = of_cell[of_cell["status"] == "ok"]
        if name == names[0]:
            axis.set_ylabel(f"{target}\nshare of pictures")
        if finished.empty:
            axis.text(0.5, 0.5, "no run finished", ha="center", va="center", transform=axis.transAxes)
            continue
        right, wrong = counts(finished["reliability"])
        total, width = right.sum() + wrong.sum(), 1 / len(right)
        centres = (np.arange(len(right)) + 0.5) * width
        axis.bar(centres, right / total, width, color=RIGHT, edgecolor="white", lw=0.3)
        axis.bar(centres, -wrong / total, width, color=WRONG, edgecolor="white", lw=0.3, hatch="////")
        axis.axhline(0, color="black", lw=0.6)
        axis.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
        axis.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
    handles = [Patch(color=RIGHT, label="correct (upwards)"), Patch(fc=WRONG, hatch="////", label="wrong (downwards)")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    note = f"Confidence of every test picture, seeds pooled. {budget}"
    if diverged := int((runs["status"] != "ok").sum()):
        note += f" {diverged} of {len(runs)} runs diverged and are left out."
    style.caption(figure, f"How sure visual prompts are when right and when wrong ({backbone})", note)
    return figure


def counts(diagrams) -> tuple[np.ndarray, np.ndarray]:
    """Correct and wrong pictures per confidence bin, over several reliability diagrams."""
    bins = cell.pool(list(diagrams))
    right = np.nan_to_num(bins["count"] * bins["accuracy"])
    return right, bins["count"] - right


def legacy(results: pd.DataFrame) -> Figure:
    """Legacy quantity against ECE: a panel per method, a point per run; one backbone.

    Runs are compared within a target only: with fewer test pictures than a batch, the legacy quantity depends on their
    number too, so its level reflects the target.
    """
    backbone = panels.only_backbone(results)
    runs = results[results["status"] == "ok"]
    methods, targets = style.methods(runs["method"]), list(dict.fromkeys(runs["target"]))
    figure, (axes,) = style.new_figure(1, len(methods), 3.6, sharey=True)
    for method, axis in zip(methods, axes, strict=True):
        opposite = compared = 0
        for k, target in enumerate(targets):
            here = runs[(runs["method"] == method) & (runs["target"] == target)]
            look = dots.look(k) | {"color": style.method(method).colour, "alpha": 0.55, "mew": 0}
            axis.plot(here["ece"], here["legacy_ece"], ls="", **look)
            one, all_ = disagreements(here["ece"].to_numpy(float), here["legacy_ece"].to_numpy(float))
            opposite, compared = opposite + one, compared + all_
        share = f"{100 * opposite / max(compared, 1):.0f} % of {compared:,} pairs opposite"
        axis.set(title=f"{style.method(method).label}\n{share}", xlabel="ECE")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("legacy quantity")
    handles = [
        axes[0].plot([], [], ls="", label=target, **(dots.look(k) | {"color": style.GREY}))[0]
        for k, target in enumerate(targets)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(targets))
    note = (
        "A point for each run. The legacy quantity takes raw logits for probabilities and shrinks with the batch. "
        "Opposite: pairs of runs on one target that it ranks in the other order than ECE does."
    )
    style.caption(figure, f"What the original code logs is not the calibration error ({backbone})", note)
    return figure


def disagreements(ece: np.ndarray, legacy: np.ndarray) -> tuple[int, int]:
    """Number of pairs of runs that the two measures rank in opposite order (ties agree), and of all pairs."""
    pairs = list(combinations(range(len(ece)), 2))
    return sum((ece[i] - ece[j]) * (legacy[i] - legacy[j]) < 0 for i, j in pairs), len(pairs)
