"""Figures of a transfer cell's notebook: learned prompt, label mapping, accuracy by budget, reliability."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.figures import style

PAIRS_A_ROW = 6
MOST_PAIRS = 36  # a target may have a hundred classes
BESIDE = 0.16  # shift between methods, in budgets
READING = "Bars: accuracy of the pictures in a bin of confidence; hatched: the gap to their mean confidence."

Row = dict[str, Any]  # as in a result record: method, budget, seed, status, metrics, reliability


def prompt_and_example(prompt, prompted, title: str = "The learned prompt") -> Figure:
    """A prompt beside a prompted picture, both (3, H, W) in [0, 1] or uint8."""
    figure, ((left, right),) = style.new_figure(1, 2, 3.4)
    style.show(left, prompt)
    style.show(right, prompted)
    left.set_title("the prompt")
    right.set_title("a picture as the backbone sees it")
    style.caption(figure, title)
    return figure


def mapping_pairs(
    target_pictures: Sequence,
    target_names: Sequence[str],
    source_pictures: Sequence,
    source_names: Sequence[str],
) -> Figure:
    """An example of each target class beside one of its source class, (3, H, W) in [0, 1] or uint8."""
    shown = min(len(target_names), MOST_PAIRS)
    rows = max(1, -(-shown // PAIRS_A_ROW))
    columns = -(-shown // rows)
    figure, axes = style.new_figure(rows, 3 * PAIRS_A_ROW, 0.6 + 0.75 * rows, width_ratios=(1, 1, 0.4) * PAIRS_A_ROW)
    for axis in axes.flat:
        axis.set_axis_off()
    for k in range(shown):
        at = 3 * (k % columns)
        left, right = axes[k // columns, at : at + 2]
        style.show(left, target_pictures[k])
        style.show(right, source_pictures[k])
        left.set_title(str(target_names[k])[:9], pad=2)
        right.set_title(f"→ {str(source_names[k])[:9]}", pad=2)
    some = f" {shown} of {len(target_names)} classes." if shown < len(target_names) else ""
    note = f"Left an example of the target class, right one of the source class that answers for it.{some}"
    style.caption(figure, "Label mapping: target class → source class", note)
    return figure


def accuracy_by_budget(rows: Sequence[Row], classes: int) -> Figure:
    """Test accuracy of `rows` against training pictures per class: a point per seed, a line of means."""
    budgets, methods = style.budgets(r["budget"] for r in rows), style.methods(r["method"] for r in rows)
    figure, ((axis,),) = style.new_figure(1, 1, 3.3)
    for m, method in enumerate(methods):
        look, means = style.method(method), {}
        for b, budget in enumerate(budgets):
            x = b + BESIDE * (m - (len(methods) - 1) / 2)
            arm = (method, budget, "ok")
            values = [r["metrics"]["accuracy"] for r in rows if (r["method"], r["budget"], r["status"]) == arm]
            if values:
                means[x] = np.mean(values)
                axis.plot([x] * len(values), values, "o", color=look.colour, alpha=0.55, mew=0)
        axis.plot(list(means), list(means.values()), color=look.colour, marker="_", ms=14, label=look.label)
    axis.axhline(1 / classes, color=style.GREY, ls=":", lw=1, label="chance")
    axis.set_xticks(range(len(budgets)), budgets)
    axis.set(xlabel="training pictures per class", ylabel="test accuracy")
    axis.set(xlim=(-0.5, len(budgets) - 0.5), ylim=(0, 1.02))
    axis.grid(False, axis="x")
    figure.legend(loc="outside right center")
    diverged = sum(row["status"] != "ok" for row in rows)
    failed = f" {diverged} of {len(rows)} runs diverged." if diverged else ""
    style.caption(figure, "Accuracy by budget", f"A point for each seed, a dash for their mean.{failed}")
    return figure


def reliability(rows: Sequence[Row]) -> Figure:
    """A reliability diagram per method at its largest budget, pooled over the seeds that finished."""
    finished = [row for row in rows if row["status"] == "ok"]
    methods = style.methods(row["method"] for row in finished)
    figure, axes = style.new_figure(2, max(len(methods), 3), 3.5, height_ratios=(3, 1), sharex=True, sharey="row")
    for axis in axes.flat:
        axis.set_axis_off()
    for (top, bottom), method in zip(axes.T, methods, strict=False):
        mine = [row for row in finished if row["method"] == method]
        largest = style.budgets(row["budget"] for row in mine)[-1]
        pooled = [row for row in mine if row["budget"] == largest]
        ece = np.mean([row["metrics"]["ece_debiased"] for row in pooled])
        reliability_panel(top, bottom, pool([row["reliability"] for row in pooled]), style.method(method).colour)
        words = f"{style.method(method).label}, {style.budget_label(largest)}"
        top.set_title(f"{words.removesuffix(', ')}\ndebiased ECE {ece:.3f}")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy in bin")
    axes[1, 0].set_ylabel("share of\npictures")
    style.caption(figure, "Reliability: is the model right as often as it is confident?", READING)
    return figure


def pool(diagrams: Sequence[dict[str, list]]) -> dict[str, np.ndarray]:
    """Reliability bins (count, confidence, accuracy) pooled over runs; NaN in empty bins, where inputs have None."""
    counts = np.array([diagram["count"] for diagram in diagrams])
    total = counts.sum(axis=0)
    pooled = {"count": total}
    for key in ("confidence", "accuracy"):
        values = np.array([diagram[key] for diagram in diagrams], dtype=float)
        sums = np.where(counts > 0, counts * values, 0).sum(axis=0)
        pooled[key] = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    return pooled


def reliability_panel(top: Axes, bottom: Axes, bins: dict[str, np.ndarray], colour: str) -> None:
    """Accuracy and gap per confidence bin above, share of pictures per bin below."""
    counts, accuracy, gap = bins["count"], bins["accuracy"], bins["confidence"] - bins["accuracy"]
    width = 1 / len(counts)
    centres = (np.arange(len(counts)) + 0.5) * width
    top.bar(centres, accuracy, width, color=colour, edgecolor="white", lw=0.4)
    top.bar(centres, gap, width, bottom=accuracy, facecolor="none", edgecolor="0.15", hatch="//////", lw=0.4)
    top.plot([0, 1], [0, 1], color="black", ls="--", lw=0.8)
    top.annotate(f"n = {counts.sum():,}", (0.04, 0.95), xycoords="axes fraction", va="top")
    top.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    bottom.bar(centres, counts / counts.sum(), width, color=style.GREY, edgecolor="white", lw=0.4)
    bottom.yaxis.set_major_locator(MaxNLocator(2))
    bottom.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
    for axis in (top, bottom):
        axis.set_axis_on()
