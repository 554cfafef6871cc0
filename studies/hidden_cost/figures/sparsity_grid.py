"""A metric against sparsity, target by method, one line a budget: what the accuracy and ECE figures share."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.figures import panels, style
from studies.figures.compressions import percent
from studies.statistics import summarise

# What is on the line, what stands apart, and what that is called. Where there are no rounds of iterative pruning,
# one-shot pruning with recovery is the line.
ROUNDS = ("dense", "imp"), ("magnitude",), "one-shot pruning"
RECOVERED = ("dense_distilled", "magnitude_distilled"), ("dense", "magnitude"), "without recovery"
BESIDE = 0.05  # shift of markers apart, in lengths of the axis, so that they do not hide the line


def draw_grid(
    results: pd.DataFrame,
    backbones: pd.DataFrame,
    metric: str,
    ylabel: str,
    title: str,
    reading: str,
    levels: Mapping[str, float],
) -> Figure:
    """Rows are targets, columns methods. Dense and IMP backbones are the line; one-shot pruning stands apart.

    Backbones without IMP have, as the line, those that recovered by distillation, dense included.

    Other families are for `families`.

    Parameters
    ----------
    results, backbones
        Tidy frames of one backbone.
    metric
        A column of `results`, a fraction.
    reading
        What the caption says; braces in it stand for what the lines are.
    levels
        For each target a level that the axis must hold; drawn as chance where it is not zero.
    """
    backbone = panels.only_backbone(results, backbones)
    sparsity = backbones.loc[backbones["bits"] == 32].set_index("compression")[["family", "sparsity"]]
    table = summarise(results, ["target", "method", "budget", "compression"], metric)
    recovered = "imp" not in set(sparsity["family"]) and RECOVERED[0][1] in set(sparsity["family"])
    line, apart, others = RECOVERED if recovered else ROUNDS
    table = table.join(sparsity[sparsity["family"].isin(line + apart)], on="compression", how="inner")
    table["x"] = _decades(table["sparsity"])
    on_line = table["family"].isin(line)
    table.loc[~on_line, "x"] += BESIDE * table["x"].max()
    targets, methods = list(dict.fromkeys(table["target"])), style.methods(table["method"])
    figure, axes = style.new_figure(len(targets), len(methods), 1.25 + 1.75 * len(targets), sharex=True, sharey="row")
    chance, source = [], []
    for target, row in zip(targets, axes, strict=True):
        for method, axis in zip(methods, row, strict=True):
            here = (table["target"] == target) & (table["method"] == method)
            for budget in style.budgets(table.loc[here, "budget"]):
                look = style.line(budget, style.method(method).colour)
                these = here & (table["budget"] == budget)
                panels.series(axis, table[these & on_line], look)
                panels.points(axis, table[these & ~on_line], look)
            if metric == "accuracy":
                name = "agrees with dense" if recovered else "source task"
                source = _source_line(axis, table[on_line].drop_duplicates("compression"), backbones, name)
            if levels.get(target):
                chance = [panels.chance_line(axis, levels[target])]
        also = [levels[target]] if target in levels else []
        also += list(backbones["upstream_accuracy"].loc[backbones["family"].isin(line)]) if source else []
        row[0].set_ylim(panels.limits(table[table["target"] == target], also, panels.FLOOR[metric]))
        row[0].set_ylabel(f"{target}\n{ylabel}")
    for method, axis in zip(methods, axes[0], strict=True):
        axis.set_title(style.method(method).label, color=style.method(method).colour, weight="bold")
    ticks = sorted(set(table.loc[on_line, "sparsity"]))
    for axis in axes[-1]:
        axis.set_xticks([_decades(tick) for tick in ticks], [percent(tick) for tick in ticks])
        axis.margins(x=0.08)
        axis.set_xlabel("pruned weights (%)")
    handles = panels.budget_handles(style.budgets(table["budget"]))
    if not on_line.all():
        handles.append(Line2D([], [], color=style.GREY, marker="o", mfc="white", ls="", label=others))
    panels.legend_below(figure, handles + chance + source)
    seeds = panels.seeds_note(results, "bands and bars")
    on = "dense and one-shot magnitude pruning, both recovered" if recovered else "dense, then rounds of IMP"
    style.caption(figure, f"{title} ({backbone})", f"{reading.format(on)} {seeds}")
    return figure


def _source_line(axis, places: pd.DataFrame, backbones: pd.DataFrame, name: str) -> list[Line2D]:
    upstream = backbones.set_index("compression")["upstream_accuracy"]
    places = places.sort_values("x")
    return axis.plot(places["x"], upstream[places["compression"]], color=style.GREY, ls="--", lw=1, label=name)


def _decades(sparsity):
    """Equal factors of remaining weights are equal steps, as pruning works: 80, 90 and 95 % do not crowd."""
    return -np.log10(1 - sparsity)
