"""Figures of changes against dense, of temperature scaling, and of controls."""

import math
from itertools import product

import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from studies.figures import compressions, dots, panels, style
from studies.statistics import against_dense, summarise
from vpstudy.training.controls import CONTROLS

RED_BLUE = "RdBu"  # red: loss, blue: gain; distinct under common colour blindness
ROW = 0.24  # height of a cell, inches
NOTHING = "Nothing to compare: no other compression than 'dense' was run."
SHORT = {"accuracy": "accuracy", "ece_debiased": "ECE"}


def heatmap(results: pd.DataFrame) -> Figure:
    """Heatmap per method: change of accuracy (percentage points), compressions × target and budget; one backbone."""
    title = f"Change in test accuracy against the dense backbone ({panels.only_backbone(results)})"
    table = summarise(against_dense(results, "accuracy"), ["method", "target", "budget", "compression"], "difference")
    if table.empty:
        return _nothing(title)
    table[["mean", "low", "high"]] *= 100
    table["text"] = [_text(row) for row in table.itertuples()]
    methods, names = style.methods(table["method"]), compressions.ordered(table["compression"])
    present = set(zip(table["target"], table["budget"], strict=True))
    pairs = product(dict.fromkeys(table["target"]), style.budgets(table["budget"]))
    columns = [pair for pair in pairs if pair in present]
    wide = table.set_index(["compression", "target", "budget"])
    height = 1.5 + len(methods) * (0.25 + ROW * len(names))
    figure, axes = style.new_figure(len(methods), 1, height, sharex=True)
    worst = max(1, math.ceil(table["mean"].abs().max())) if table["mean"].notna().any() else 1
    for method, axis in zip(methods, axes[:, 0], strict=True):
        here = wide[wide["method"] == method][["mean", "text"]].unstack(["target", "budget"])
        means, texts = (here[column].reindex(index=names, columns=columns) for column in ("mean", "text"))
        means, texts = means.astype(float), texts.astype(object).fillna("")
        sns.heatmap(
            means, annot=texts, fmt="", annot_kws={"size": 8}, cmap=RED_BLUE, vmin=-worst,
            vmax=worst, cbar=False, linewidths=0.8, ax=axis, yticklabels=list(map(compressions.short_label, names)),
            xticklabels=[f"{target}\n{style.budget_label(budget)}" for target, budget in columns],
        )  # fmt: skip
        for row, column in zip(*means.isna().to_numpy().nonzero(), strict=True):
            axis.text(column + 0.5, row + 0.5, texts.iloc[row, column], ha="center", va="center", size=8)
        axis.set(facecolor="0.9", xlabel="", ylabel="")
        axis.grid(False)
        axis.tick_params(axis="both", rotation=0)
        axis.set_title(style.method(method).label, color=style.method(method).colour, weight="bold")
        for k in range(1, len(columns)):
            if columns[k][0] != columns[k - 1][0]:
                axis.axvline(k, color="black", lw=0.8)
    place = {"ax": list(axes.flat), "location": "bottom", "shrink": 0.5, "aspect": 40}
    bar = figure.colorbar(ScalarMappable(Normalize(-worst, worst), RED_BLUE), **place)
    bar.set_label("compressed − dense (percentage points)")
    bar.outline.set_visible(False)
    note = f"{panels.seeds_note(results.assign(status='ok'), 'intervals')} *: that of this cell alone excludes 0."
    note += " †: a run diverged and is left out." if table["n_diverged"].any() else ""
    style.caption(figure, title, note)
    return figure


def _text(row) -> str:
    """The mean as "−5.2*": * if the interval excludes 0, † if a run diverged; "none" if all did."""
    mark = "†" if row.n_diverged else ""
    if not row.n:
        return f"none{mark}"
    significant = row.low > 0 or row.high < 0
    number = f"{row.mean:+.1f}".replace("-", "−")
    return ("0.0" if float(number[1:]) == 0 else number) + ("*" if significant else "") + mark


def _nothing(title: str) -> Figure:
    figure, axes = style.new_figure(1, 1, 0.6)
    axes[0, 0].set_axis_off()
    style.caption(figure, title, NOTHING)
    return figure


def by_family(results: pd.DataFrame) -> Figure:
    """Changes of accuracy and calibration by compression and target, at the largest budget; one backbone."""
    title = f"What each compression costs ({panels.only_backbone(results)})"
    runs, budget = panels.at_largest_budget(results)
    runs = runs[runs["method"].isin(["visual_prompting", "linear_probe"])]
    changes = {metric: against_dense(runs, metric) for metric in SHORT}
    if changes["accuracy"].empty:
        return _nothing(title)
    tables, limits = [], {}
    for metric, words in SHORT.items():
        table = summarise(changes[metric], ["target", "method", "compression"], "difference")
        table = table.assign(panel=table["target"] + f"\nΔ {words}")
        limits |= dict.fromkeys(table["panel"], panels.limits(table, [0.0]))
        tables.append(table)
    table = pd.concat(tables)
    note = f"Compressed − dense; ECE is debiased. {budget} {panels.seeds_note(runs, 'bars')}"
    return _by_compression(pd.concat(tables), "", title, note, limits)


def scaling(results: pd.DataFrame) -> Figure:
    """Debiased ECE before (hollow) and after (full) temperature scaling, at the largest budget; one backbone."""
    title = f"Calibration before and after temperature scaling ({panels.only_backbone(results)})"
    runs, budget = panels.at_largest_budget(results)
    moments = {", before": "ece_debiased", ", after": "ece_debiased_scaled"}
    tables = [summarise(runs, ["target", "method", "compression"], m).assign(moment=k) for k, m in moments.items()]
    table = pd.concat(tables).assign(panel=lambda frame: frame["target"])
    note = f"One temperature a run, fitted on validation, its classes weighted as in the training pool. {budget}"
    return _by_compression(table, "debiased ECE", title, f"{note} {panels.seeds_note(runs, 'bars')}")


def _by_compression(table: pd.DataFrame, xlabel: str, title: str, note: str, limits=None) -> Figure:
    """A row per compression, a group per method and, if the table has the column, moment."""
    table = table.assign(moment=table.get("moment", ""), row=table["compression"].map(compressions.short_label))
    table["group"] = [style.method(name).label for name in table["method"]] + table["moment"]
    looks = {}
    for m, name in enumerate(style.methods(table["method"])):
        method = style.method(name)
        for moment in dict.fromkeys(table["moment"]):
            fill = "white" if moment == ", before" else method.colour
            looks[method.label + moment] = dots.look(m) | {"color": method.colour, "mfc": fill}
    order = [compressions.short_label(name) for name in compressions.ordered(table["compression"])]
    return dots.draw(table, xlabel, title, note, zero=True, order=order, looks=looks, limits=limits)


def controls(transfers: pd.DataFrame, of_controls: pd.DataFrame) -> Figure:
    """Controls beside the method they vary, dense and compressed; one backbone.

    A row per method and budget; methods appear only at the budgets and compressions of their controls.
    """
    names, budgets = compressions.ordered(of_controls["compression"]), style.budgets(of_controls["budget"])
    based = {CONTROLS[name].method for name in of_controls["method"]}
    kept = transfers["compression"].isin(names) & transfers["budget"].isin(budgets) & transfers["method"].isin(based)
    runs = pd.concat([transfers[kept], of_controls])
    tables = [
        summarise(runs, ["target", "method", "budget", "compression"], metric).assign(words=words)
        for metric, words in SHORT.items()
    ]
    table = pd.concat(tables)
    table = table.assign(
        panel=table["target"] + "\n" + table["words"],
        row=[f"{style.method(m).label}, {b}" for m, b in zip(table["method"], table["budget"], strict=True)],
        group=table["compression"].map(compressions.label),
    )
    methods = style.methods(runs["method"])
    methods.sort(key=lambda name: (CONTROLS[name].method if name in CONTROLS else name) != "visual_prompting")
    order = [f"{style.method(name).label}, {budget}" for name in methods for budget in budgets]
    looks = {compressions.label(n): dots.look(k) | {"color": compressions.colour(n)} for k, n in enumerate(names)}
    note = "Each control changes one thing; prompts of other shapes also let the picture fill the canvas. "
    note += "After the comma: training pictures per class. ECE is debiased. Bars: 95 % intervals."
    title = f"What the controls say ({panels.only_backbone(runs)})"
    return dots.draw(table, "", title, note, order=order, looks=looks)
