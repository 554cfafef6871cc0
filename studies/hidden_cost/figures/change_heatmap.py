"""What compression changes: accuracy against the dense backbone, visual prompting beside linear probing."""

import math

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from studies.figures import compressions, panels, style
from studies.statistics import against_dense, summarise

RED_BLUE = "RdBu"  # red is a loss, blue a gain: told apart under every common colour blindness
ROW, AROUND = 0.24, 0.95  # inches: the height of a cell; what stands above and below a panel's cells
MANY = 10  # compressions that fit as columns
BY = ["method", "target", "budget", "compression"]


def draw(results: pd.DataFrame) -> Figure:
    """Change of accuracy in percentage points, paired by seed: a panel for each method.

    Rows are targets and budgets, columns compressions; of many compressions the other way round. `results` holds one
    backbone; if nothing in it is compressed, the figure says so.
    """
    backbone = panels.only_backbone(results)
    title = f"Change in test accuracy against the dense backbone ({backbone})"
    table = summarise(against_dense(results, "accuracy"), BY, "difference")
    if table.empty:
        figure, axes = style.new_figure(1, 1, 0.6)
        axes[0, 0].set_axis_off()
        style.caption(figure, title, "Nothing to compare: no other compression than 'dense' was run.")
        return figure
    table[["mean", "low", "high"]] *= 100
    methods = style.methods(table["method"])
    tables = [table[table["method"] == method] for method in methods]
    names, targets = compressions.ordered(table["compression"]), list(dict.fromkeys(table["target"]))
    turned = len(names) > MANY
    if turned:
        widths = [_height(part) for part in tables]
        total = 1.6 + AROUND + ROW * len(names)
        figure, axes = style.new_figure(1, len(methods), total, width_ratios=widths, sharey=True)
    else:
        heights = [max(map(_height, tables[i : i + 2])) for i in range(0, len(methods), 2)]
        total = 0.5 + AROUND * len(heights) + ROW * sum(heights)
        figure, axes = style.new_figure(len(heights), 2, total, height_ratios=heights)
    worst = max(1, math.ceil(table["mean"].abs().max())) if table["mean"].notna().any() else 1
    for method, part, axis in zip(methods, tables, axes.flat, strict=False):
        _panel(axis, part, targets, names, worst, turned)
        axis.set_title(style.method(method).label, color=style.method(method).colour, weight="bold")
    for left, right in axes if not turned else ():
        if _labels(left) == _labels(right):
            right.set_yticklabels([])
    place = {"ax": list(axes.flat), "location": "bottom", "shrink": 0.5, "aspect": 40}
    if len(methods) % 2 and not turned:  # the last place is free
        axes[-1, 1].set_axis_off()
        place = {"cax": axes[-1, 1].inset_axes([0.1, 0.45, 0.8, 0.16]), "orientation": "horizontal"}
    bar = figure.colorbar(ScalarMappable(Normalize(-worst, worst), RED_BLUE), **place)
    bar.set_label("compressed − dense (percentage points)")
    bar.outline.set_visible(False)
    style.caption(figure, title, _note(results, table))
    return figure


def _note(results: pd.DataFrame, table: pd.DataFrame) -> str:
    seeds, sources = results["seed"].nunique(), results["source_seed"].nunique()
    note = "One seed: no intervals."
    if sources > 1:
        note = f"Means over {sources} source checkpoints with {seeds} seeds each, paired by seed. "
        note += "*: the 95 % t interval of this cell alone, over checkpoints, excludes 0."
    elif seeds > 1:
        note = f"Means over {seeds} seeds, paired by seed. *: the 95 % t interval of this cell alone excludes 0."
    return note + (" †: a seed diverged and is left out." if table["n_diverged"].any() else "")


def _labels(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.get_yticklabels()]


def _height(table: pd.DataFrame) -> int:
    return len(table[["target", "budget"]].drop_duplicates())


def _panel(axis: Axes, table: pd.DataFrame, targets: list[str], names: list[str], worst: float, turned: bool) -> None:
    budgets = style.budgets(table["budget"])
    present = set(zip(table["target"], table["budget"], strict=True))
    rows = [(target, budget) for target in targets for budget in budgets if (target, budget) in present]
    table = table.assign(text=[_text(row) for row in table.itertuples()])
    wide = table.set_index(["target", "budget", "compression"])[["mean", "text"]].unstack()
    means, texts = (wide[column].reindex(index=rows, columns=names) for column in ("mean", "text"))
    labels = [f"{target}, {style.budget_label(budget)}" for target, budget in rows]
    columns = [compressions.short_label(name) for name in names]
    if turned:
        means, texts, labels, columns = means.T, texts.T, columns, labels
    sns.heatmap(
        means.to_numpy(dtype=float), mask=means.isna().to_numpy(), annot=texts.fillna("").to_numpy(), fmt="",
        annot_kws={"size": 8}, cmap=RED_BLUE, vmin=-worst, vmax=worst, cbar=False, linewidths=0.8, ax=axis,
        xticklabels=columns, yticklabels=labels,
    )  # fmt: skip
    for j, i in zip(*means.isna().to_numpy().nonzero(), strict=True):
        axis.text(i + 0.5, j + 0.5, texts.fillna("").iloc[j, i], ha="center", va="center", size=8)
    axis.set_facecolor("0.9")
    axis.grid(False)
    axis.tick_params(axis="y", rotation=0)
    axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    for j in range(1, len(rows)):
        if rows[j][0] != rows[j - 1][0]:
            (axis.axvline if turned else axis.axhline)(j, color="black", lw=0.8)


def _text(row) -> str:
    """As "−5.2*": the mean, whether its interval excludes 0, whether a seed is missing; "none" if all are."""
    mark = "†" if row.n_diverged else ""
    if not row.n:
        return f"none{mark}"
    significant = row.low > 0 or row.high < 0
    number = f"{row.mean:+.1f}".replace("-", "−")
    return ("0.0" if float(number[1:]) == 0 else number) + ("*" if significant else "") + mark
