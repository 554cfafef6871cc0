"""Figures of single-cell notebooks: pictures, arms, training, weights, reliability, protocols."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from studies.figures import cell, dots, style
from studies.qprompt import figures
from studies.qprompt.labels import ZERO_SHOT
from studies.statistics import summarise

BASE, NEW = dots.COLOURS[:2]
Row = dict[str, Any]  # as in a result


def runs(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows of one cell as a frame: arm, group, budget, seed, status, accuracy."""
    kept = ("arm", "group", "budget", "seed", "status")
    accuracies = [(row["metrics"] or {}).get("accuracy") for row in rows]
    frame = pd.DataFrame([{key: row[key] for key in kept} for row in rows])
    return frame.assign(accuracy=accuracies, source_seed=0)


def examples(pictures: Mapping[str, Sequence], columns: int = 8) -> Figure:
    """Pictures (3, H, W), a row for each kind."""
    figure, axes = style.new_figure(len(pictures), columns, 0.3 + 0.8 * len(pictures))
    for line, (name, shown) in zip(axes, pictures.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, picture in zip(line, shown, strict=False):
            style.show(axis, picture)
        line[0].set_ylabel(name)
    style.caption(figure, "Where prompts are measured")
    return figure


def arms(runs: pd.DataFrame) -> Figure:
    """Accuracy of every arm on base and new: mean and 95 % interval over seeds."""
    table = summarise(runs.assign(all="mean of seeds"), ["arm", "group", "all"], "accuracy").set_axis(
        ["row", "panel", "group", "mean", "low", "high", "n", "n_diverged"], axis=1
    )
    return dots.draw(table, "test accuracy", "What each arm reaches", "Means over seeds, 95 % t intervals.")


def curves(of_arms: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Accuracy on base and new over epochs, averaged over the seeds of each arm."""
    frame = pd.DataFrame(
        {"label": name} | entry for name, seeds in of_arms.items() for curve in seeds.values() for entry in curve
    )
    means = frame.groupby(["label", "epoch"], sort=False)[["base", "new"]].mean().reset_index()
    note = "Means over seeds. Diagnostics: nothing is chosen on them."
    return figures.curves({"": means}, "Base and new over training", note)


def weights(context, packed=None) -> Figure:
    """Histogram of a context's values, with the values of its codebook, if any, as lines."""
    figure, ((axis,),) = style.new_figure(1, 1, 2.4)
    values = np.asarray(context).ravel()
    axis.hist(values, 60, color=BASE, alpha=0.7, lw=0)
    if packed is not None:
        for value in packed.book.float().numpy():
            axis.axvline(value, color=NEW, lw=1)
        axis.plot([], [], color=NEW, lw=1, label=f"codebook, {packed.bits} bit")
        figure.legend(loc="outside lower center")
    axis.set(xlabel="value of a weight", ylabel="weights")
    style.caption(figure, "The weights of the learned prompt", f"{values.size} values, of the first seed.")
    return figure


def reliability(rows: Sequence[Row]) -> Figure:
    """Reliability of the first arm on base and new, seeds pooled."""
    first = rows[0]["arm"]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    figure, axes = style.new_figure(2, len(groups), 3.2, height_ratios=(3, 1), sharex=True, sharey="row")
    for group, top, bottom, colour in zip(groups, axes[0], axes[1], (BASE, NEW), strict=False):
        bins = [r["reliability"] for r in rows if (r["arm"], r["group"], r["status"]) == (first, group, "ok")]
        if bins:
            cell.reliability_panel(top, bottom, cell.pool(bins), colour)
        top.set_title(f"{first}, {group} classes")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy in bin")
    axes[1, 0].set_ylabel("share of\npictures")
    style.caption(figure, "Confidence against accuracy", cell.READING)
    return figure


def by_shots(runs: pd.DataFrame) -> Figure:
    """Test accuracy against training pictures per class."""
    figure, ((axis,),) = style.new_figure(1, 1, 3)
    learned = runs[runs["budget"] != "0"].assign(shots=lambda frame: frame["budget"].astype(int))
    palette = dots.COLOURS[: learned["arm"].nunique()]
    look = {"x": "shots", "y": "accuracy", "hue": "arm", "style": "arm", "palette": palette, "ax": axis}
    each = learned["source_seed"].astype(str) + "-" + learned["seed"].astype(str)
    sns.lineplot(learned.assign(run=each), units="run", estimator=None, alpha=0.3, lw=0.6, legend=False, **look)
    sns.lineplot(learned, errorbar=None, markers=True, **look)
    untrained = runs.loc[(runs["arm"] == ZERO_SHOT) & (runs["group"] == "all"), "accuracy"].mean()
    axis.axhline(untrained, color=style.GREY, ls=":", label=ZERO_SHOT)
    axis.set_xscale("log", base=2)
    shots = sorted(learned["shots"].unique())
    axis.set_xticks(shots, [str(each) for each in shots])
    axis.set(xlabel="training pictures per class", ylabel="test accuracy")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    axis.get_legend().remove()
    style.caption(figure, "From few pictures", "All classes of the target. Thin: a seed each, thick: their mean.")
    return figure


def by_group(runs: pd.DataFrame) -> Figure:
    """Test accuracy on each kind of pictures: mean and 95 % interval."""
    named = runs.assign(group=runs["group"].replace({"all": "as learned"}), all="")
    table = summarise(named, ["group", "all", "arm"], "accuracy").set_axis(
        ["row", "panel", "group", "mean", "low", "high", "n", "n_diverged"], axis=1
    )
    note = "Means over seeds, or over source checkpoints if there are several; 95 % t intervals."
    return dots.draw(table, "test accuracy", "Pictures that prompts did not learn from", note)
