"""Figures of hidden_cost, from the report and the runs of one architecture."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd

from studies.figures import compressions, dots, heat, lines, panels, reliability, sentences, style
from studies.figures.sentences import Drawn
from studies.figures.tables import METRICS
from studies.hidden_cost import prompt_figures, real_network_figure, screening
from studies.hidden_cost.dose_figure import dose_response
from studies.statistics import against_dense, summarise
from vpstudy.compression.family import percent
from vpstudy.compression.registry import FAMILIES, parse
from vpstudy.training.controls import CONTROLS

PLAIN = ("dense", "magnitude")  # without recovery: apart from the line, if not on it
APART = 0.05  # shift of markers apart, in axis lengths, to keep the line visible
BOUNDS = {"accuracy": (0.0, 1.0), "ece_debiased": (-1.0, 1.0)}  # a debiased estimate may lie below zero
BOTH = ("accuracy", "ece_debiased")
RED_BLUE = "RdBu"  # red: loss, blue: gain; distinct under common colour blindness
PER_ARM = ["target", "method", "budget", "compression"]


def by_sparsity(metric: str):
    """The figure of a metric against sparsity: targets × methods, a line per budget."""

    def draw(report, runs: pd.DataFrame) -> Drawn:
        backbones = report.backbones[report.backbones["backbone"] == runs["backbone"].iloc[0]]
        unquantized = backbones[backbones["bits"] == 32].groupby("compression", sort=False)
        sparsity = unquantized[["sparsity", "upstream_accuracy"]].mean()
        start, family, note = _line(sparsity.index)
        families = sparsity.index.map(lambda name: parse(name).family)
        sparsity = sparsity.assign(apart=~families.isin([start, family]))[families.isin([start, family, *PLAIN])]
        dashed = "agrees with dense" if _agreement(backbones) else "source task"
        table = summarise(runs, PER_ARM, metric)
        table = table.join(sparsity, on="compression", how="inner")
        table = table.assign(x=_decades(table["sparsity"]))
        table.loc[table["apart"], "x"] += APART * table["x"].max()
        note += " Hollow: one-shot pruning without recovery." if table["apart"].any() else ""
        table["group"] = table["budget"].map(style.budget_label)
        looks = {style.budget_label(b): style.line(b, style.COLOURS[0]) for b in style.budgets(table["budget"])}
        if metric == "accuracy":
            upstream = table[~table["apart"]].drop_duplicates(["target", "method", "compression"])
            upstream = upstream.assign(mean=upstream["upstream_accuracy"], low=np.nan, high=np.nan, group=dashed)
            table = pd.concat([table, upstream.assign(n=1, n_diverged=0)], ignore_index=True)
            looks[dashed] = {"color": style.GREY, "ls": "--", "lw": 1}
        table["line"] = table["target"] + f"\n{METRICS[metric]}"
        table["panel"] = table["method"].map(lambda name: style.method(name).label)
        levels = _chance(runs, table) if metric == "accuracy" else None
        ticks = {_decades(value): percent(value) for value in sorted(set(table.loc[~table["apart"], "sparsity"]))}
        figure = lines.draw(
            table.sort_values("method", key=lambda names: names.map(style.methods(names).index), kind="stable"),
            "pruned weights (%)",
            f"{METRICS[metric].capitalize().replace('ece', 'ECE')} against sparsity",
            f"{note} {panels.seeds_note(runs)}",
            looks=looks,
            ticks=ticks,
            levels=levels,
            bounds=dict.fromkeys(table["line"], BOUNDS[metric]),
        )
        changes = _changes(runs, metric, PER_ARM)
        kept = changes["compression"].isin(table.loc[~table["apart"], "compression"])
        return Drawn(figure, sentences.changes(changes[kept], f"{METRICS[metric]} along the lines, against dense"))

    return draw


def _agreement(backbones: pd.DataFrame) -> bool:
    """Whether upstream accuracy is agreement with dense: without the source there is no upstream calibration."""
    return "upstream_ece_debiased" not in backbones or bool(backbones["upstream_ece_debiased"].isna().any())


def _line(names: Iterable[str]) -> tuple[str, str, str]:
    """The network that the line starts from, the family on it, and a note on both.

    On the line is IMP, else the recovered family with the most sparsities, from the network that was trained alike.
    """
    recovered = [each for each in map(parse, names) if each.recovered]
    counted = Counter(each.family for each in recovered)
    family = max(counted, key=lambda name: (name == "imp", counted[name]), default="magnitude")
    start = next((each.control for each in recovered if each.family == family), None) or "dense"
    words = re.sub(r",? ?{} %( sparse)?", "", FAMILIES[family].words[0]).strip(" ()")
    return start, family, f"Lines: {compressions.label(start)}, then {words}."


def _decades(sparsity):
    """Log scale of remaining weights, on which 80, 90 and 95 % do not crowd."""
    return -np.log10(1 - sparsity)


def _chance(runs: pd.DataFrame, table: pd.DataFrame) -> dict[tuple[str, str], float]:
    chance = panels.chance_levels(runs)
    places = table[["line", "panel", "target"]].drop_duplicates().itertuples(index=False)
    return {(line, panel): chance[target] for line, panel, target in places if target in chance}


def _changes(runs: pd.DataFrame, metric: str, by: list[str]) -> pd.DataFrame:
    """Changes against dense with their intervals; the labels of `dots.draw`."""
    table = summarise(against_dense(runs, metric), by, "difference")
    return table.assign(
        row=table["compression"].map(compressions.short_label), panel=table["target"], group=_labels(table)
    )


def _labels(table: pd.DataFrame) -> list[str]:
    """Labels of methods and, where the table has them, budgets."""
    arms = table[[name for name in ("method", "budget") if name in table]]
    return [_label(*arm) for arm in arms.itertuples(index=False)]


def _label(method: str, budget: str | None = None) -> str:
    return ", ".join(filter(None, (style.method(method).label, style.budget_label(budget))))


def bit_width(report, runs: pd.DataFrame) -> Drawn:
    """Metrics × targets, a line per method and budget, without pruned networks."""
    names = [name for name in compressions.ordered(runs["compression"]) if not parse(name).sparsity]
    runs = runs[runs["compression"].isin(names)]
    tables = [summarise(runs, PER_ARM, metric).assign(line=METRICS[metric]) for metric in BOTH]
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(
        panel=table["target"],
        group=_labels(table),
        x=table["compression"].map(names.index),
        apart=table["compression"].map(lambda name: parse(name).activation_bits is not None),
    )
    arms = product(style.methods(runs["method"]), style.budgets(runs["budget"]))
    looks = {_label(method, budget): style.line(budget, style.method(method).colour) for method, budget in arms}
    levels = {place: level for place, level in _chance(runs, table).items() if place[0] == METRICS["accuracy"]}
    ticks = dict(enumerate(map(compressions.short_label, names)))
    note = f"Hollow: what enters each layer is rounded, too. {panels.seeds_note(runs)}"
    bounds = {METRICS[metric]: bounds for metric, bounds in BOUNDS.items()}
    title, shape = "Accuracy and calibration by bit width", {"height": 2.1, "sharey": False}
    figure = lines.draw(table, "", title, note, looks=looks, ticks=ticks, levels=levels, bounds=bounds, **shape)
    return Drawn(figure, sentences.changes(_changes(runs, "accuracy", PER_ARM), "test accuracy, against dense"))


def change_heatmap(report, runs: pd.DataFrame) -> Drawn | None:
    """A heat map per method: change of accuracy (percentage points), compressions × target and budget."""
    table = _changes(runs, "accuracy", PER_ARM)
    if table.empty:
        return None
    names = compressions.ordered(table["compression"])
    present = set(zip(table["target"], table["budget"], strict=True))
    columns = [
        pair for pair in product(panels.names(table, "target"), style.budgets(table["budget"])) if pair in present
    ]
    worst = max(1, np.ceil(100 * table["mean"].abs().max(skipna=True))) if table["mean"].notna().any() else 1
    table = table.assign(text=[_cell(row) for row in table.itertuples()], mean=100 * table["mean"])
    maps = {}
    for method in style.methods(table["method"]):
        mine = table[table["method"] == method].set_index(["compression", "target", "budget"])
        wide = [
            mine[key].unstack(["target", "budget"]).reindex(index=names, columns=columns) for key in ("mean", "text")
        ]
        wide = [frame.set_axis(list(map(compressions.short_label, names)), axis=0) for frame in wide]
        wide = [frame.set_axis([f"{t}\n{style.budget_label(b)}" for t, b in columns], axis=1) for frame in wide]
        maps[style.method(method).label] = wide[0].astype(float), wide[1].astype(object).fillna("")
    note = panels.seeds_note(runs.assign(status="ok"), "intervals")
    note += " *: the interval of this cell alone excludes 0." if table["low"].notna().any() else ""
    note += " †: a run diverged and is left out." if table["n_diverged"].any() else ""
    title = "Change in test accuracy against the dense backbone"
    unit = "compressed − dense (percentage points)"
    figure = heat.draw(maps, (-worst, worst), RED_BLUE, unit, title, note)
    return Drawn(figure, sentences.changes(table.assign(mean=table["mean"] / 100), "test accuracy"))


def _cell(row) -> str:
    """The change in points as "−5.2*": * if the interval excludes 0, † if a run diverged; "none" if all did."""
    mark = "†" if row.n_diverged else ""
    if not row.n:
        return f"none{mark}"
    number = f"{100 * row.mean:+.1f}".replace("-", "−")
    return ("0.0" if float(number[1:]) == 0 else number) + ("*" if row.low > 0 or row.high < 0 else "") + mark


def _by_compression(table: pd.DataFrame, xlabel: str, title: str, note: str):
    """Dots by compression, in the colours of methods; groups that end in ", before" are hollow."""
    looks = {}
    for m, name in enumerate(style.methods(table["method"])):
        look = style.look(m) | {"color": style.method(name).colour}
        label = style.method(name).label
        looks |= {f"{label}, before": look | {"mfc": "white"}, f"{label}, after": look, label: look}
    order = list(map(compressions.short_label, compressions.ordered(table["compression"])))
    return dots.draw(table, xlabel, title, note, zero=True, order=order, looks=looks)


def scaling(report, runs: pd.DataFrame) -> Drawn:
    """Debiased ECE before (hollow) and after (full) temperature scaling, at the largest budget."""
    runs, budget = panels.at_largest_budget(runs)
    runs = runs[runs["ece_debiased_scaled"].notna() | (runs["status"] != "ok")]
    moments = {", before": "ece_debiased", ", after": "ece_debiased_scaled"}
    tables = [summarise(runs, ["target", "method", "compression"], m).assign(moment=k) for k, m in moments.items()]
    table = pd.concat(tables, ignore_index=True).drop(columns="admitted", errors="ignore")  # hollow says "before" here
    table = table.assign(panel=table["target"], row=table["compression"].map(compressions.short_label))
    table["group"] = table["method"].map(lambda name: style.method(name).label) + table["moment"]
    note = f"One temperature a run, fitted on validation, its classes weighted as in the training pool. {budget} "
    note += panels.seeds_note(runs)
    figure = _by_compression(table, METRICS["ece_debiased"], "Calibration before and after temperature scaling", note)
    before, after = (each["mean"].mean() for each in tables)
    return Drawn(figure, f"Over all arms, a temperature takes debiased ECE from {before:.3f} to {after:.3f}.")


def reliability_diagrams(report, runs: pd.DataFrame) -> Drawn:
    """Reliability of prompted models on representative compressions at the largest budget; a row per target."""
    runs, budget = panels.at_largest_budget(runs[runs["method"] == "visual_prompting"])
    names = compressions.representatives(runs["compression"])
    runs = runs[runs["compression"].isin(names)]
    diagrams = {
        target: {
            compressions.short_label(name): of.loc[(of["compression"] == name) & (of["status"] == "ok")].to_dict(
                "records"
            )
            for name in names
        }
        for target, of in runs.groupby("target", sort=False)
    }
    diverged = int((runs["status"] != "ok").sum())
    note = budget + (f" {diverged} of {len(runs)} runs diverged and are left out." if diverged else "")
    figure = reliability.draw(diagrams, "Reliability of visual prompts on dense, sparse and quantized backbones", note)
    table = summarise(runs, ["target", "compression"], "ece_debiased")
    table = table.assign(row=table["compression"].map(compressions.short_label), panel=table["target"])
    return Drawn(figure, sentences.extremes(table, METRICS["ece_debiased"]))


def controls(report, runs: pd.DataFrame) -> Drawn | None:
    """Controls beside the method they vary, at their budgets and compressions; a row per method and budget."""
    of_controls = report.controls[report.controls["backbone"] == runs["backbone"].iloc[0]]
    if of_controls.empty:
        return None
    names, budgets = compressions.ordered(of_controls["compression"]), style.budgets(of_controls["budget"])
    based = {CONTROLS[name].method for name in of_controls["method"]}
    kept = runs["compression"].isin(names) & runs["budget"].isin(budgets) & runs["method"].isin(based)
    runs = pd.concat([runs[kept], of_controls])
    tables = [summarise(runs, PER_ARM, metric).assign(words=METRICS[metric]) for metric in BOTH]
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(
        panel=table["target"] + "\n" + table["words"],
        row=_labels(table),
        group=table["compression"].map(compressions.label),
    )
    methods = style.methods(runs["method"])
    methods.sort(key=lambda name: (CONTROLS[name].method if name in CONTROLS else name) != "visual_prompting")
    order = [_label(name, budget) for name in methods for budget in budgets]
    looks = {compressions.label(n): style.look(k) | {"color": compressions.colour(n)} for k, n in enumerate(names)}
    note = "Each control changes one thing; prompts of other shapes also let the picture fill the canvas. "
    figure = dots.draw(table, "", "What the controls say", note + panels.seeds_note(runs), order=order, looks=looks)
    return Drawn(figure, sentences.extremes(table[table["words"] == METRICS["accuracy"]], METRICS["accuracy"]))


FIGURES = {
    "dose_response": dose_response,
    "real_network": real_network_figure.draw,
    "screening": screening.draw,
    "accuracy_by_sparsity": by_sparsity("accuracy"),
    "change_heatmap": change_heatmap,
    "ece_by_sparsity": by_sparsity("ece_debiased"),
    "bit_width": bit_width,
    "reliability": reliability_diagrams,
    "scaling": scaling,
    "prompts": prompt_figures.prompts,
    "label_mapping": prompt_figures.label_mapping,
    "prompt_gain": prompt_figures.prompt_gain,
    "controls": controls,
}
