"""A real network beside the small ones: how far compression moves its answers, a label mapping and a probe."""

import numpy as np
import pandas as pd

from studies.figures import compressions, dots, panels, style
from studies.figures.sentences import Drawn
from studies.statistics import summarise

UPSTREAM, PROBE = "upstream", "linear_probe"  # rows of a cell: agreement with dense, and the probe
WITHOUT = "agreement, on other photographs"


def draw(report, runs: pd.DataFrame) -> Drawn | None:
    """A panel for agreement with dense, and one for each method and target, by compression."""
    real = report.real.frame
    if real.empty:
        return None
    by = ["backbone", "target", "compression", "method", "budget"]
    table = summarise(real, by, "accuracy").assign(low=np.nan, high=np.nan)
    upstream, names = table["method"] == UPSTREAM, compressions.ordered(table["compression"])
    table["panel"] = [_panel(*pair) for pair in zip(table["method"], table["target"], strict=True)]
    table["group"] = table["budget"].map(style.budget_label).where(~upstream, WITHOUT)
    table["row"] = table["compression"].map(compressions.short_label)
    order = list(map(compressions.short_label, names))
    if table["backbone"].nunique() > 1:
        order = [f"{backbone}, {name}" for backbone in dict.fromkeys(table["backbone"]) for name in order]
        table["row"] = table["backbone"] + ", " + table["row"]
    looks = {WITHOUT: style.look(0) | {"color": style.GREY}}
    budgets = style.budgets(table.loc[~upstream, "budget"])
    looks |= {style.budget_label(budget): style.look(k + 1) for k, budget in enumerate(budgets)}
    chance = panels.chance_levels(real)
    pairs = table.loc[~upstream, ["method", "target"]].drop_duplicates().itertuples(index=False)
    levels = {_panel(*pair): chance[pair.target] for pair in pairs if pair.target in chance}
    note = (
        "Agreement: how often the network answers as when dense, on photographs that compression has not seen. The "
        f"rest: accuracy on test pictures, of {', '.join(dict.fromkeys(table['backbone']))}. Means of "
        f"{real.loc[real['method'] != UPSTREAM, 'seed'].nunique()} seeds. No intervals: they would say nothing about "
        "other networks."
    )
    figure = dots.draw(
        table.sort_values("panel", key=lambda of: of != _panel(UPSTREAM, ""), kind="stable"),
        "share",
        "A real network, compressed without its source",
        note,
        levels=levels,
        level_label="chance",
        order=order,
        bounds=(0, 1),
        looks=looks,
    )
    return Drawn(figure, _sentence(table, budgets[-1]))


def _panel(method: str, target: str) -> str:
    return "upstream" if method == UPSTREAM else f"{style.method(method).label}, {target}"


def _sentence(table: pd.DataFrame, budget: str) -> str:
    """The lowest agreement, and how far the probe is from dense's there."""
    upstream = table[(table["method"] == UPSTREAM) & (table["compression"] != "dense")]
    if upstream.empty:
        return "Nothing was compressed."
    worst = upstream.loc[upstream["mean"].idxmin()]
    probes = table[(table["method"] == PROBE) & (table["budget"] == budget) & (table["backbone"] == worst["backbone"])]
    means = probes.groupby("compression")["mean"].mean()
    change = means.get(worst["compression"], np.nan) - means.get("dense", np.nan)
    lowest = f"Agreement with dense is lowest, {worst['mean']:.3f}, for {compressions.label(worst['compression'])}"
    if np.isnan(change):
        return f"{lowest}; not all probes finished."
    return f"{lowest}; a probe there, with the most pictures, is {change:+.3f} from dense's."
