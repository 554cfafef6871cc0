"""Figures of the study across: quantized visual prompts on compressed backbones."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.across.effects import ARM, METRICS, OTHER
from studies.figures import compressions, dots, panels, style
from studies.statistics import summarise

LABELS = {"clustered": "k-means", "uniform": "even steps", "random": "random values"}


def label(arm: str, codebook: str | None, bits: int) -> str:
    """Label of an arm, such as `2 bits, after training (k-means)`."""
    if arm == "grey":
        return "grey border, nothing learned"
    of = f"{bits} bit" + ("s" if bits > 1 else "")
    if arm.startswith(("full", "half")):
        kind = "not quantized"
    else:
        kind = "in training" if arm == "qat" else f"after training ({LABELS[str(codebook)]})"
    return f"{of}, {kind}" + (", other learning rate" if arm.endswith("_other") else "")


def by_bits(runs: pd.DataFrame, title: str) -> Figure:
    """Accuracy and calibration (rows) against bits per border value, a column per quantization method.

    `runs` are of one backbone and target, without controls: compression, source_seed, seed, status, `ARM`, `METRICS`.
    """
    quantized = runs.loc[runs["arm"].isin(["ptq", "qat"])]
    ways = list(quantized[["arm", "codebook"]].drop_duplicates().sort_values("arm").itertuples(index=False, name=None))
    bits = sorted(set(quantized["bits"]), reverse=True)
    ticks = {32: 0, **{b: i for i, b in enumerate(bits, 1)}, 0: len(bits) + 1}
    names = compressions.ordered(runs["compression"])
    figure, axes = style.new_figure(len(METRICS), len(ways), 1.2 + 1.9 * len(METRICS), sharex=True, sharey="row")
    for (metric, words), line in zip(METRICS.items(), axes, strict=True):
        table = summarise(runs, ["compression", *ARM], metric)
        table = table[table["n"] > 0].assign(x=lambda frame: frame["bits"].map(ticks))
        for (arm, book), axis in zip(ways, line, strict=True):
            for i, name in enumerate(names):
                here = table[table["compression"] == name].assign(
                    x=lambda f, i=i: f["x"] + 0.12 * (i - len(names) / 2 + 0.5)
                )
                drawn = here[(here["arm"] == "full") | ((here["arm"] == arm) & (here["codebook"] == book))]
                _bars(axis, drawn.sort_values("x"), dots.look(i) | {"lw": 1.2})
                _bars(axis, here[here["arm"] == "grey"], dots.look(i) | {"ls": "", "mfc": "white"})
            axis.set_xticks(list(ticks.values()), ["32", *map(str, bits), "–"])
            axis.grid(False, axis="x")
            if metric.startswith("ece"):
                axis.axhline(0, color=style.GREY, lw=0.6)
        line[0].set_ylabel(words)
    for (arm, book), top, bottom in zip(ways, axes[0], axes[-1], strict=True):
        top.set_title(f"{'after' if arm == 'ptq' else 'in'} training, {LABELS[book]}", size=8)
        bottom.set_xlabel("bits of a value of the border")
    axis = axes[0, 0]
    handles = [axis.plot([], [], label=compressions.label(name), **dots.look(i))[0] for i, name in enumerate(names)]
    handles += axis.plot([], [], color=style.GREY, marker="o", mfc="white", ls="", ms=4, label="nothing learned")
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    note = "32: trained in full precision. Hollow, –: the grey border that training starts from. "
    style.caption(figure, title, note + panels.seeds_note(runs, "bars"))
    return figure


def _bars(axis, table: pd.DataFrame, look: dict[str, Any]) -> None:
    bars = [table["mean"] - table["low"], table["high"] - table["mean"]]
    axis.errorbar(table["x"], table["mean"], yerr=bars, elinewidth=0.8, **look)


def effects(table: pd.DataFrame, names: list[str], title: str, note: str) -> Figure:
    """Effects (`effects.table`) as dots: a row per arm, a panel per metric, a colour per compression of `names`."""
    table = table.assign(
        row=[label(*key) for key in table[ARM].itertuples(index=False)],
        group=table["compression"].map(compressions.label),
        panel=table["metric"],
    )
    looks = {compressions.label(name): dots.look(k) for k, name in enumerate(compressions.ordered(names))}
    return dots.draw(table, "change", title, note, zero=True, looks=looks)


def prompts(pictures: Mapping[tuple[str, str, int], Any], title: str, note: str) -> Figure:
    """Learned borders (3, H, W) by (compression, arm, bits): a row per compression, a column per arm and bits."""
    trained = {bits for _, arm, bits in pictures if arm == "qat"}
    kept = [key for key in pictures if key[1] != "ptq" or key[2] in trained or not trained]
    columns, names = list(dict.fromkeys(key[1:] for key in kept)), compressions.ordered(key[0] for key in kept)
    side = style.WIDTH / len(columns)
    figure, axes = style.new_figure(len(names), len(columns), 0.9 + side * len(names))
    for name, line in zip(names, axes, strict=True):
        for column, axis in zip(columns, line, strict=True):
            style.bare(axis)
            if (name, *column) in pictures:
                style.show(axis, pictures[name, *column])
        line[0].set_ylabel(compressions.short_label(name))
    for (arm, bits), axis in zip(columns, axes[0], strict=True):
        words = {"full": "in full", "ptq": "after", "qat": "in training"}[arm]
        axis.set_title(f"{bits} bit{'s' if bits > 1 else ''}\n{words}")
    style.caption(figure, title, note)
    return figure


def cell(result: dict[str, Any]) -> Figure:
    """Accuracy and debiased ECE of one cell against bits."""
    identity = {"compression": result["cell"]["compression"], "source_seed": 0}
    rows = [identity | dict.fromkeys(METRICS) | row | (row["metrics"] or {}) for row in result["rows"]]
    frame = pd.DataFrame(rows)
    return by_bits(frame[~frame["arm"].str.endswith(OTHER)], "Accuracy and calibration, bit by bit")
