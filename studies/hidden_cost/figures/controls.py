"""Controls beside the method that they differ from in one thing, dense and compressed."""

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, style
from studies.statistics import summarise
from vpstudy.training.controls import CONTROLS

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE"}
BESIDE = 0.16  # shift between compressions, in rows


def draw(transfers: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """A row for each arm, a column for each target, above accuracy and below debiased ECE; one backbone.

    Methods are shown at the budgets and compressions of their controls only, so that like stands beside like.
    """
    names = compressions.ordered(controls["compression"])
    budgets = style.budgets(controls["budget"])
    kept = transfers["compression"].isin(names) & transfers["budget"].isin(budgets)
    based = {CONTROLS[name].method for name in controls["method"]}
    frame = pd.concat([transfers[kept & transfers["method"].isin(based)], controls])
    arms = [
        (method, budget)
        for method in style.methods(frame["method"])
        for budget in budgets
        if ((frame["method"] == method) & (frame["budget"] == budget)).any()
    ]
    arms.sort(key=lambda arm: (CONTROLS[arm[0]].method if arm[0] in CONTROLS else arm[0]) != "visual_prompting")
    targets = list(dict.fromkeys(frame["target"]))
    height = 1.3 + 2 * (0.35 + 0.24 * len(arms))
    figure, axes = style.new_figure(2, len(targets), height, sharey=True, sharex="row")
    for (metric, words), row in zip(METRICS.items(), axes, strict=True):
        table = summarise(frame, ["target", "method", "budget", "compression"], metric)
        for target, axis in zip(targets, row, strict=True):
            here = table[table["target"] == target].set_index(["method", "budget", "compression"])
            for c, name in enumerate(names):
                shift = BESIDE * (c - (len(names) - 1) / 2)
                for y, arm in enumerate(arms):
                    if (*arm, name) in here.index:
                        one = here.loc[(*arm, name)]
                        bar = [[one["mean"] - one["low"]], [one["high"] - one["mean"]]]
                        look = {"color": compressions.colour(name), "marker": "os^Dv"[c % 5], "ms": 4}
                        axis.errorbar([one["mean"]], [y + shift], xerr=bar, ls="", lw=1.2, **look)
            axis.set_yticks(range(len(arms)), [f"{style.method(m).label}, {b}" for m, b in arms])
            axis.set_xlabel(words)
    axes[0, 0].invert_yaxis()
    for target, axis in zip(targets, axes[0], strict=True):
        axis.set_title(target, weight="bold")
    handles = [
        axes[0, 0].plot([], [], "os^Dv"[c % 5], color=compressions.colour(name), label=compressions.label(name))[0]
        for c, name in enumerate(names)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names))
    note = "Each control changes one thing; prompts of other shapes also let the picture fill the canvas. "
    note += "After the comma: training pictures per class. Bars: 95 % intervals."
    style.caption(figure, "What the controls say", note)
    return figure
