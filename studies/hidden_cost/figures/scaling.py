"""Calibration before and after temperature scaling: is what compression costs repaired by one number?"""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.figures import compressions, panels, style
from studies.statistics import summarise

BESIDE = 0.22  # shift between methods, in rows


def draw(results: pd.DataFrame) -> Figure:
    """A column for each target, a row for each compression: debiased ECE before (hollow) and after (full).

    `results` holds one backbone; means over seeds at the largest budget.
    """
    backbone = panels.only_backbone(results)
    budget = style.budgets(results["budget"])[-1]
    runs = results[results["budget"] == budget]
    names, methods = compressions.ordered(runs["compression"]), style.methods(runs["method"])
    targets = list(dict.fromkeys(runs["target"]))
    figure, (axes,) = style.new_figure(1, len(targets), 1.6 + 0.42 * len(names), sharey=True)
    by = ["target", "method", "compression"]
    before, after = (
        summarise(runs, by, metric).set_index(by)["mean"] for metric in ("ece_debiased", "ece_debiased_scaled")
    )
    for target, axis in zip(targets, axes, strict=True):
        axis.axvline(0, color="black", lw=0.6)
        for m, method in enumerate(methods):
            colour = style.method(method).colour
            for y, name in enumerate(names):
                if (target, method, name) in before.index:
                    place = y + BESIDE * (m - (len(methods) - 1) / 2)
                    ends = [before[target, method, name], after[target, method, name]]
                    axis.plot(ends, [place, place], color=colour, lw=1)
                    axis.plot(ends[:1], [place], "o", mfc="white", mec=colour, ms=4.5)
                    axis.plot(ends[1:], [place], "o", color=colour, ms=4.5)
        axis.set_title(target, weight="bold")
        axis.set_xlabel("debiased ECE")
        axis.grid(False, axis="y")
    axes[0].set_yticks(range(len(names)), [compressions.short_label(name) for name in names])
    axes[0].invert_yaxis()
    handles = panels.method_handles(methods)
    handles += [
        Line2D([], [], ls="", marker="o", mfc="white", mec=style.GREY, label="before"),
        Line2D([], [], ls="", marker="o", color=style.GREY, label="after"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    note = (
        f"One temperature a run, fitted on its validation split. Budget: {style.budget_label(budget)}; means of seeds."
    )
    style.caption(figure, f"Calibration before and after temperature scaling ({backbone})", note)
    return figure
