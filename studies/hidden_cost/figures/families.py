"""Every compression beside every other: does what it costs depend on how it was made?"""

from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, panels, style
from studies.statistics import against_dense, summarise
from vpstudy.compression.names import parse

METRICS = {"accuracy": "Δ accuracy", "ece_debiased": "Δ ECE"}
BESIDE = 0.22  # shift between methods, in rows


def draw(results: pd.DataFrame) -> Figure:
    """A row for each compression, columns: accuracy and calibration on each target; changes against dense.

    `results` holds one backbone; runs at the largest budget, paired with those of the dense network.
    """
    backbone = panels.only_backbone(results)
    budget = style.budgets(results["budget"])[-1]
    runs = results[(results["budget"] == budget) & results["method"].isin(["visual_prompting", "linear_probe"])]
    names = [name for name in compressions.ordered(runs["compression"]) if name != "dense"]
    methods, targets = style.methods(runs["method"]), list(dict.fromkeys(runs["target"]))
    columns = [(metric, target) for metric in METRICS for target in targets]
    figure, (axes,) = style.new_figure(1, len(columns), 1.5 + 0.3 * max(len(names), 1), sharey=True)
    tables = {metric: summarise(against_dense(runs, metric), ["target", "method", "compression"], "difference")
              for metric in METRICS} if names else {}  # fmt: skip
    for (metric, target), axis in zip(columns, axes, strict=True):
        axis.axvline(0, color="black", lw=0.8)
        for m, method in enumerate(methods if names else []):
            table = tables[metric]
            here = table[(table["target"] == target) & (table["method"] == method)].set_index("compression")
            here = here.reindex(names).dropna(subset="mean")
            places = [names.index(name) + BESIDE * (m - (len(methods) - 1) / 2) for name in here.index]
            colour = style.method(method).colour
            axis.hlines(places, here["low"], here["high"], color=colour, lw=1.2)
            axis.plot(here["mean"], places, "os"[m % 2], color=colour, ms=4)
        axis.set_title(f"{target}\n{METRICS[metric]}")
        axis.tick_params(axis="x", rotation=45)
        low, high = panels.change_limits([tables[metric]] if names else [])
        axis.set_xlim(low, high)
    for y, (one, other) in enumerate(pairwise(names), 1):
        if parse(one).family != parse(other).family:
            for axis in axes:
                axis.axhline(y - 0.5, color="0.85", lw=0.8)
    axes[0].set_yticks(range(len(names)), [compressions.short_label(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    for axis in axes:
        axis.grid(False, axis="y")
    figure.legend(handles=panels.method_handles(methods), loc="outside lower center", ncols=len(methods))
    note = (
        f"Compressed − dense; ECE is debiased. Budget: {style.budget_label(budget)}. {panels.seeds_note(runs, 'bars')}"
    )
    if not names:
        note = "Nothing to compare: no other compression than 'dense' was run."
    style.caption(figure, f"What each compression costs ({backbone})", note)
    return figure
