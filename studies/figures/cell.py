"""Figures of cells' notebooks: learned prompt, label mapping, accuracy by budget, reliability."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import lines, panels, pictures, style
from studies.figures import reliability as diagrams
from studies.statistics import summarise

ABREAST = 9  # pairs in a line
MOST_PAIRS = 36  # a target may have a hundred classes

Row = dict[str, Any]  # as in a result: method, budget, seed, status, metrics, reliability


def prompt_and_example(prompt, prompted, title: str = "The learned prompt") -> Figure:
    """A prompt beside a prompted picture, both (3, H, W) in [0, 1] or uint8."""
    shown = {(0, "the prompt"): prompt, (0, "a picture as the backbone sees it"): prompted}
    return pictures.table(shown, title, tallest=2.6)


def mapping_pairs(
    target_pictures: Sequence,
    target_names: Sequence[str],
    source_pictures: Sequence,
    source_names: Sequence[str],
) -> Figure | str:
    """An example of each target class above one of its source class, (3, H, W) in [0, 1] or uint8."""
    if not target_names:
        return "No prompt was learned here, or none without diverging."
    shown, captions = {}, {}
    for side, of_side, names in (("target", target_pictures, target_names), ("source", source_pictures, source_names)):
        for k in range(min(len(target_names), MOST_PAIRS)):
            key = f"{side} {k // ABREAST + 1}" if len(target_names) > ABREAST else side, k % ABREAST
            shown[key], captions[key] = of_side[k], style.printable(str(names[k]), f"class {k}")
    shown = dict(sorted(shown.items(), key=lambda item: (item[0][0].partition(" ")[2], item[0][1])))  # pairs together
    some = f" {MOST_PAIRS} of {len(target_names)} classes." if len(target_names) > MOST_PAIRS else ""
    note = f"Above an example of the target class, below one of the source class that answers for it.{some}"
    return pictures.table(shown, "Label mapping: target class and source class", note, captions=captions)


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows of one cell with their metrics as columns, for `summarise`."""
    metrics = dict.fromkeys(("accuracy", "ece_debiased"))
    return pd.DataFrame([row | metrics | (row["metrics"] or {}) | {"source_seed": 0} for row in rows])


def accuracy_by_budget(rows: Sequence[Row], classes: int) -> Figure:
    """Test accuracy of `rows` against training pictures per class, with the interval over seeds."""
    runs, methods = frame(rows), style.methods(row["method"] for row in rows)
    budgets = style.budgets(runs["budget"])
    table = summarise(runs, ["method", "budget"], "accuracy")
    table = table.assign(line="test accuracy", panel="", x=table["budget"].map(budgets.index))
    table["group"] = table["method"].map(lambda name: style.method(name).label)
    looks = {style.method(name).label: style.line("all", style.method(name).colour) for name in methods}
    ticks, levels = {k: str(budget) for k, budget in enumerate(budgets)}, {("test accuracy", ""): 1 / classes}
    note, shape = panels.seeds_note(runs), {"height": 2.4, "bounds": {"test accuracy": (0.0, 1.0)}}
    x = "training pictures per class"
    return lines.draw(table, x, "Accuracy by budget", note, looks=looks, ticks=ticks, levels=levels, **shape)


def reliability(rows: Sequence[Row]) -> Figure:
    """A reliability diagram per method at its largest budget, pooled over the seeds that finished."""
    runs, columns = frame(rows), {}
    for method in style.methods(runs["method"]):
        mine, _ = panels.at_largest_budget(runs[runs["method"] == method])
        words = [style.method(method).label, style.budget_label(mine["budget"].iloc[0])]
        columns[", ".join(filter(None, words))] = mine[mine["status"] == "ok"].to_dict("records")
    return diagrams.draw({"": columns}, "Is the model right as often as it is confident?", "")
