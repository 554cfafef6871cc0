"""Accuracy and calibration error against sparsity and bits: lines by method and budget."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.figures import compressions, panels, style
from studies.report import METRICS
from studies.statistics import summarise
from vpstudy.compression.family import percent
from vpstudy.compression.registry import parse

# Families on the line, families apart from it, and the label of the latter. RECOVERED: backbones without IMP.
ROUNDS = ("dense", "imp"), ("magnitude",), "one-shot pruning"
RECOVERED = ("dense_distilled", "magnitude_distilled"), ("dense", "magnitude"), "without recovery"
APART = 0.05  # shift of markers apart, in axis lengths, to keep the line visible
SHIFT = 0.07  # between lines in `by_bits`, in ticks, to keep bars apart


def accuracy_by_sparsity(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """Test accuracy, with chance and, dashed, upstream accuracy."""
    return _by_sparsity(results, backbones, "accuracy", "Accuracy against sparsity")


def ece_by_sparsity(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    return _by_sparsity(results, backbones, "ece_debiased", "Calibration error against sparsity")


def _by_sparsity(results: pd.DataFrame, backbones: pd.DataFrame, metric: str, title: str) -> Figure:
    """Targets × methods, a line per budget; one backbone. Other families are in `changes.by_family`."""
    backbone, accuracy = panels.only_backbone(results, backbones), metric == "accuracy"
    sparsity = backbones.loc[backbones["bits"] == 32].set_index("compression")[["family", "sparsity"]]
    recovered = "imp" not in set(sparsity["family"]) and RECOVERED[0][1] in set(sparsity["family"])
    line, apart, others = RECOVERED if recovered else ROUNDS
    table = summarise(results, ["target", "method", "budget", "compression"], metric)
    table = table.join(sparsity[sparsity["family"].isin(line + apart)], on="compression", how="inner")
    table = table.assign(x=_decades(table["sparsity"]), on_line=table["family"].isin(line))
    table.loc[~table["on_line"], "x"] += APART * table["x"].max()
    places = table[table["on_line"]].drop_duplicates("compression").sort_values("x")
    upstream = backbones.set_index("compression")["upstream_accuracy"][places["compression"]]
    levels = panels.chance_levels(results) if accuracy else dict.fromkeys(results["target"], 0.0)
    targets, methods = list(dict.fromkeys(table["target"])), style.methods(table["method"])
    figure, axes = style.new_figure(len(targets), len(methods), 1.25 + 1.75 * len(targets), sharex=True, sharey="row")
    chance, source = [], []
    for target, row in zip(targets, axes, strict=True):
        for method, axis in zip(methods, row, strict=True):
            here = table[(table["target"] == target) & (table["method"] == method)]
            for budget in style.budgets(here["budget"]):
                look, these = style.line(budget, style.method(method).colour), here[here["budget"] == budget]
                panels.series(axis, these[these["on_line"]], look)
                panels.points(axis, these[~these["on_line"]], look)
            if accuracy:
                name = "agrees with dense" if recovered else "source task"
                source = axis.plot(places["x"], upstream, color=style.GREY, ls="--", lw=1, label=name)
            if levels.get(target):
                chance = [panels.chance_line(axis, levels[target])]
        also = [levels[target]] if target in levels else []
        also += list(upstream) if accuracy else []
        row[0].set_ylim(panels.limits(table[table["target"] == target], also, panels.BOUNDS[metric]))
        row[0].set_ylabel(f"{target}\n{METRICS[metric]}")
    for method, axis in zip(methods, axes[0], strict=True):
        axis.set_title(style.method(method).label, color=style.method(method).colour, weight="bold")
    ticks = sorted(set(places["sparsity"]))
    for axis in axes[-1]:
        axis.set_xticks([_decades(tick) for tick in ticks], [percent(tick) for tick in ticks])
        axis.margins(x=0.08)
        axis.set_xlabel("pruned weights (%)")
    handles = panels.budget_handles(style.budgets(table["budget"]))
    if not table["on_line"].all():
        handles.append(Line2D([], [], color=style.GREY, marker="o", mfc="white", ls="", label=others))
    panels.legend_below(figure, handles + chance + source)
    on = "dense and one-shot magnitude pruning, both recovered" if recovered else "dense, then rounds of IMP"
    note = f"Lines: {on}, by training pictures per class. {panels.seeds_note(results, 'bands and bars')}"
    style.caption(figure, f"{title} ({backbone})", note)
    return figure


def _decades(sparsity):
    """Log scale of remaining weights, on which 80, 90 and 95 % do not crowd."""
    return -np.log10(1 - sparsity)


def by_bits(results: pd.DataFrame, backbones: pd.DataFrame) -> Figure:
    """Metrics × targets, a line per method and budget; one backbone, without pruned networks."""
    backbone = panels.only_backbone(results, backbones)
    names = compressions.ordered(backbones.loc[backbones["sparsity_nominal"] == 0, "compression"])
    results = results[results["compression"].isin(names)]
    arms = list(results[["method", "budget"]].drop_duplicates().itertuples(index=False, name=None))
    shifts = dict(zip(arms, SHIFT * (np.arange(len(arms)) - (len(arms) - 1) / 2), strict=True))
    targets, chance = list(dict.fromkeys(results["target"])), panels.chance_levels(results)
    figure, axes = style.new_figure(len(panels.BOUNDS), len(targets), 5.2, sharex=True)
    for (metric, bounds), row in zip(panels.BOUNDS.items(), axes, strict=True):
        table = summarise(results, ["target", "method", "budget", "compression"], metric)
        for target, axis in zip(targets, row, strict=True):
            here = table[table["target"] == target]
            for (method, budget), these in here.groupby(["method", "budget"], sort=False):
                look = style.line(budget, style.method(method).colour)
                these = these.assign(x=[shifts[method, budget] + names.index(name) for name in these["compression"]])
                weights_alone = these["compression"].map(lambda name: parse(name).activation_bits is None)
                panels.series(axis, these[weights_alone], look, bars=True)
                panels.points(axis, these[~weights_alone], look)
            level = chance.get(target) if metric == "accuracy" else 0.0
            if level:
                panels.chance_line(axis, level)
            axis.set_ylim(panels.limits(here, [] if level is None else [level], bounds))
        row[0].set_ylabel(METRICS[metric])
    for target, axis in zip(targets, axes[0], strict=True):
        axis.set_title(target, weight="bold")
    turned = {"rotation": 45, "ha": "right"} if len(names) > 4 else {}
    for axis in axes[-1]:
        axis.set_xticks(range(len(names)), [compressions.short_label(name) for name in names], **turned)
        axis.margins(x=0.12)
    methods, budgets = style.methods(results["method"]), style.budgets(results["budget"])
    panels.legend_below(figure, panels.method_handles(methods) + panels.budget_handles(budgets))
    note = f"Hollow: what enters each layer is rounded, too. Dotted: chance. {panels.seeds_note(results, 'bars')}"
    style.caption(figure, f"Accuracy and calibration by bit width ({backbone})", note)
    return figure
