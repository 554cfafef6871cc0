"""Figures of the study across: quantized visual prompts on compressed backbones."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from studies.figures import compressions, style
from studies.figures.dots import COLOURS, MARKERS
from studies.statistics import summarise

LABELS = {"clustered": "k-means", "uniform": "even steps", "random": "random values"}


def label(arm: str, codebook: str | None, bits: int) -> str:
    """An arm in words: "2 bits, after training (k-means)"."""
    if arm.endswith("_other"):
        return f"{label(arm.removesuffix('_other'), codebook, bits)}, other learning rate"
    if arm in ("full", "half"):
        return f"{bits} bit{'s' if bits > 1 else ''}, not quantized"
    if arm == "grey":
        return "grey border, nothing learned"
    kind = "in training" if arm == "qat" else f"after training ({LABELS[str(codebook)]})"
    return f"{bits} {'bit' if bits == 1 else 'bits'}, {kind}"


def kinds(runs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The (arm, codebook, title) that quantize, in order of appearance: after training, then in training."""
    found = runs.loc[runs["arm"].isin(["ptq", "qat"]), ["arm", "codebook"]].drop_duplicates()
    found = found.sort_values("arm", kind="stable")
    titles = {"ptq": "after training, {}", "qat": "in training, {}"}
    return [(arm, book, titles[arm].format(LABELS[book])) for arm, book in found.itertuples(index=False)]


def by_bits(table: pd.DataFrame, metrics: dict[str, str], title: str, note: str) -> Figure:
    """Metrics against the bits of a border's value, a row for each metric, a column for each way to quantize.

    Parameters
    ----------
    table
        Of one backbone and target: compression, arm, codebook, bits, metric, mean, low, high, n.
    metrics
        Names in the column metric, and their labels.
    """
    ways, names = kinds(table), compressions.ordered(table["compression"])
    bits = sorted(set(table.loc[table["arm"].isin(["ptq", "qat"]), "bits"]), reverse=True)
    ticks = {"full": 0, **{b: i for i, b in enumerate(bits, 1)}, "grey": len(bits) + 1}
    figure, axes = style.new_figure(len(metrics), len(ways), 1.2 + 1.9 * len(metrics), sharex=True, sharey="row")
    for r, ((metric, words), line) in enumerate(zip(metrics.items(), axes, strict=True)):
        for (arm, book, heading), axis in zip(ways, line, strict=True):
            for i, name in enumerate(names):
                here = table[(table["compression"] == name) & (table["metric"] == metric) & (table["n"] > 0)]
                drawn = here[(here["arm"] == arm) & (here["codebook"] == book)].sort_values("bits", ascending=False)
                full, grey = here[here["arm"] == "full"], here[here["arm"] == "grey"]
                shift = 0.12 * (i - (len(names) - 1) / 2)
                look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "ms": 4}
                joined = pd.concat([full, drawn])
                x = [ticks["full"]] * len(full) + [ticks[b] for b in drawn["bits"]]
                bar = [joined["mean"] - joined["low"], joined["high"] - joined["mean"]]
                axis.errorbar([at + shift for at in x], joined["mean"], yerr=bar, lw=1.2, elinewidth=0.8, **look)
                bar = [grey["mean"] - grey["low"], grey["high"] - grey["mean"]]
                at = [ticks["grey"] + shift] * len(grey)
                axis.errorbar(at, grey["mean"], yerr=bar, ls="", elinewidth=0.8, mfc="white", **look)
            axis.set_xticks(list(ticks.values()), ["32", *map(str, bits), "–"])
            axis.grid(False, axis="x")
            if r == 0:
                axis.set_title(heading, size=8)
            if r == len(metrics) - 1:
                axis.set_xlabel("bits of a value of the border")
        line[0].set_ylabel(words)
        if metric.startswith("ece"):
            for axis in line:
                axis.axhline(0, color=style.GREY, lw=0.6)
    _legend(figure, axes[0, 0], names)
    style.caption(figure, title, note)
    return figure


def by_bytes(table: pd.DataFrame, title: str, note: str) -> Figure:
    """Accuracy against bytes of the prompt alone, and of prompt and backbone together.

    Parameters
    ----------
    table
        Of one backbone and target: compression, arm, codebook, bits, mean, low, high, n, prompt_bytes, total_bytes.
    """
    names = compressions.ordered(table["compression"])
    figure, axes = style.new_figure(1, 2, 3.3, sharey=True)
    for axis, column, words in zip(
        axes[0], ("prompt_bytes", "total_bytes"), ("bytes of the border", "bytes of border and backbone"), strict=True
    ):
        for i, name in enumerate(names):
            here = table[(table["compression"] == name) & (table["n"] > 0) & (table["arm"] != "grey")]
            after = here[
                here["arm"].isin(["full", "half"]) | ((here["arm"] == "ptq") & (here["codebook"] != "uniform"))
            ]
            trained = here[here["arm"] == "qat"]
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "ms": 4}
            for part, dashes, fill in ((after, "-", look["color"]), (trained, "--", "white")):
                part = part.sort_values(column)
                axis.plot(part[column], part["mean"], ls=dashes, lw=1.1, mfc=fill, **look)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(_kilobytes))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(f"{words} (log scale)")
    axes[0, 0].set_ylabel("test accuracy")
    _legend(figure, axes[0, 0], names, also=True)
    style.caption(figure, title, note)
    return figure


def prompts(pictures: Mapping[tuple[str, str, int], Any], title: str, note: str) -> Figure:
    """Learned borders: a row for each compression, a column in full and for each number of bits.

    Parameters
    ----------
    pictures
        Of one backbone, source checkpoint, target and seed, by compression, arm and bits: (3, H, W).
    """
    trained = sorted({bits for _, arm, bits in pictures if arm == "qat"}, reverse=True)
    after = trained or sorted({bits for _, arm, bits in pictures if arm == "ptq"}, reverse=True)
    columns = [("full", 32), *(("ptq", b) for b in after), *(("qat", b) for b in trained)]
    names = compressions.ordered(name for name, _, _ in pictures)
    side = style.WIDTH / len(columns)
    figure, axes = style.new_figure(len(names), len(columns), 0.9 + side * len(names))
    for r, (name, line) in enumerate(zip(names, axes, strict=True)):
        for (arm, bits), axis in zip(columns, line, strict=True):
            style.bare(axis)
            if (name, arm, bits) in pictures:
                style.show(axis, pictures[name, arm, bits])
            if r == 0:
                words = {"full": "in full", "ptq": "after", "qat": "in training"}[arm]
                axis.set_title(f"{bits} bit{'s' if bits > 1 else ''}\n{words}")
        line[0].set_ylabel(compressions.short_label(name))
    style.caption(figure, title, note)
    return figure


def _legend(figure: Figure, axis, names: list[str], also: bool = False) -> None:
    handles = [
        axis.plot([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], ms=4, label=text)[0]
        for i, text in enumerate(map(compressions.label, names))
    ]
    if also:
        handles += axis.plot([], [], color=style.GREY, marker="o", ms=4, label="after training (k-means)")
        handles += axis.plot([], [], color=style.GREY, marker="o", mfc="white", ls="--", ms=4, label="in training")
    else:
        handles += axis.plot([], [], color=style.GREY, marker="o", mfc="white", ls="", ms=4, label="nothing learned")
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))


def _kilobytes(value: float, _=None) -> str:
    if value < 1000:
        return f"{value:.0f} B"
    return f"{value / 1e3:g} kB" if value < 1e6 else f"{value / 1e6:g} MB"


def cell(result: dict[str, Any]) -> Figure:
    """Accuracy and debiased ECE against bits, of one cell."""
    metrics = {"accuracy": "accuracy", "ece_debiased": "debiased ECE"}
    rows = [
        {"compression": result["cell"]["compression"], "source_seed": 0, **dict.fromkeys(metrics), **row}
        | (row["metrics"] or {})
        for row in result["rows"]
        if not row["arm"].endswith("_other")
    ]
    frame = pd.DataFrame(rows)
    table = [summarise(frame, ["compression", "arm", "codebook", "bits"], m).assign(metric=m) for m in metrics]
    note = f"Intervals over {frame['seed'].nunique()} seeds." if frame["seed"].nunique() > 1 else "One seed."
    return by_bits(pd.concat(table), metrics, "Accuracy and calibration, bit by bit", note)
