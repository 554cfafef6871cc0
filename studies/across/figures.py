"""Figures of the study across: quantized visual prompts on compressed backbones."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies import results
from studies.across import strip
from studies.across.effects import ARM, COST, DEPENDENCE, MARGIN, METRICS, OTHER, fewest_bits
from studies.across.labels import LABELS, label
from studies.figures import compressions, dots, lines, panels, pictures, sentences, style
from studies.figures.cell import frame
from studies.figures.sentences import Drawn
from studies.statistics import summarise

Key = tuple[str, str, int]  # compression, arm, bits


def draw_by_bits(runs: pd.DataFrame) -> Figure:
    """Accuracy and calibration (rows, by target) against bits per border value, a column per quantization method.

    `runs` are of one backbone, without controls: target, compression, source_seed, seed, status, `ARM`, `METRICS`.
    """
    ways = runs.loc[runs["arm"].isin(["ptq", "qat"]), ["arm", "codebook"]].drop_duplicates().sort_values("arm")
    bits = sorted(set(runs.loc[runs["arm"].isin(["ptq", "qat"]), "bits"]), reverse=True)
    ticks = {32: 0, **{b: i for i, b in enumerate(bits, 1)}, 0: len(bits) + 1}
    tables = []
    for metric, words in METRICS.items():
        of = summarise(runs[runs["arm"] != "half"], ["target", "compression", *ARM], metric)
        of["line"] = (of["target"] + "\n" if of["target"].nunique() > 1 else "") + words
        for arm, book in ways.itertuples(index=False):
            mine = of[(of["arm"] == arm) & (of["codebook"] == book) | of["arm"].isin(["full", "grey"])]
            tables.append(mine.assign(panel=f"{'after' if arm == 'ptq' else 'in'} training, {LABELS[book]}"))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(
        x=table["bits"].map(ticks), apart=table["arm"] == "grey", group=table["compression"].map(compressions.label)
    )
    looks = _looks(runs)
    note = "32: trained in full precision. Hollow, –: the grey border that training starts from. "
    note += panels.seeds_note(runs)
    names = {0: "32", **{ticks[b]: str(b) for b in bits}, ticks[0]: "–"}
    title, x = "Visual prompts of few bits on compressed backbones", "bits of a value of the border"
    return lines.draw(table, x, title, note, looks=looks, ticks=names, height=1.9)


def _looks(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    names = compressions.ordered(runs["compression"])
    return {compressions.label(name): style.look(k) | {"ls": "-"} for k, name in enumerate(names)}


def draw_prompts(borders: Mapping[Key, Any], note: str) -> Figure:
    """Learned borders (3, H, W) by compression, arm and bits: a row per compression, a column per arm and bits."""
    trained = {bits for _, arm, bits in borders if arm == "qat"}
    shown = {}
    for name in compressions.ordered(key[0] for key in borders):
        for (compression, arm, bits), picture in borders.items():
            if compression == name and (arm != "ptq" or bits in trained or not trained):
                words = {"full": "in full", "ptq": "after", "qat": "in training"}[arm]
                shown[compressions.short_label(name), f"{bits} bit{'s' if bits > 1 else ''} {words}"] = picture
    return pictures.table(shown, "Learned borders, quantized", note)


def cell(result: dict[str, Any]) -> Figure:
    """Accuracy and debiased ECE of one cell against bits."""
    rows = frame(result["rows"]).assign(compression=result["cell"]["compression"], target=result["cell"]["target"])
    return draw_by_bits(rows[~rows["arm"].str.endswith(OTHER)])


def by_bits(report, runs: pd.DataFrame) -> Drawn:
    table = summarise(runs[runs["arm"].isin(["ptq", "qat"])], ["target", "compression", *ARM], "accuracy")
    table = table.assign(row=labels(table), panel=table["target"], group=table["compression"].map(compressions.label))
    return Drawn(draw_by_bits(runs), sentences.extremes(table, "test accuracy of a quantized prompt"))


def labels(table: pd.DataFrame) -> list[str]:
    return [label(*key) for key in table[ARM].itertuples(index=False)]


def _effects(comparison: str, title: str, note: str) -> Callable[[Any, pd.DataFrame], Drawn | None]:
    """Effects of a comparison: a row per arm, a panel per metric, a colour per compression."""

    def draw(report, runs: pd.DataFrame) -> Drawn | None:
        table = report.effects[report.effects["backbone"] == runs["backbone"].iloc[0]]
        table = table[table["comparison"] == comparison]
        table = table[(table["arm"] == "qat") | (table["codebook"] == report.codebook)]
        if table.empty:
            return None
        table = table.assign(
            row=labels(table), group=table["compression"].map(compressions.label), panel=table["metric"]
        )
        words = f"{note} {panels.seeds_note(runs.assign(status='ok'))}"
        figure = dots.draw(table, "change", title, words, zero=True, looks=_looks(runs))
        accuracy = table[table["metric"] == METRICS["accuracy"]]
        said = sentences.changes(accuracy, "accuracy")
        if comparison == COST:
            least = {name: fewest_bits(of, report.codebook) for name, of in accuracy.groupby("group", sort=False)}
            within = ", ".join(f"{name} {bits or 'none'}" for name, bits in least.items())
            said += f" After training it stays within {MARGIN:g} down to so many bits: {within}."
        return Drawn(figure, said)

    return draw


def prompts(report, runs: pd.DataFrame) -> Drawn | None:
    """Learned borders of the first target, source checkpoint and seed."""
    first, borders = runs.iloc[0], {}
    firsts = [content for content in report.contents if content["cell"]["source_seed"] == first["source_seed"]]
    for cell, content in zip(report.cells, firsts, strict=True):
        axes, path = dict(cell.axes), results.prompt_path(cell)
        same = (axes["backbone"], axes["target"]) == (first["backbone"], first["target"])
        if same and path.exists():
            borders |= {(axes["compression"], *key): one for key, one in strip.read(path, content["rows"]).items()}
    if not borders:
        return None
    note = f"{first['target']}, seed {first['seed']}. In full, the same quantized after training "
    note += f"({LABELS[report.codebook]}), and others trained through the quantizer. The picture's place is black."
    return Drawn(draw_prompts(borders, note), f"{len(borders)} borders of the first seed.")


FIGURES = {
    "by_bits": by_bits,
    "changes": _effects(
        COST,
        "What the bits of a prompt cost",
        "Quantized less full precision, in pairs of the same seed and target. Left of zero: lower.",
    ),
    "interactions": _effects(
        DEPENDENCE,
        "Does a compressed backbone pay more?",
        "The change by quantizing on a compressed backbone less that on the dense one, by seed and target.",
    ),
    "prompts": prompts,
}
