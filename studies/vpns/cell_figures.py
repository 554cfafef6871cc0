"""Figures of a pruning cell's notebook."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.figures import dots, heat, panels
from studies.figures import reliability as diagrams
from studies.figures.cell import frame
from studies.figures.tables import METRICS
from studies.statistics import summarise
from studies.vpns.evidence import percent, treatment

Row = dict[str, Any]  # of a result


def accuracy(rows: Sequence[Row], classes: int) -> Figure:
    """Test accuracy of every arm of a cell, from its result rows."""
    runs = frame(rows)
    table = summarise(runs, ["arm", "view", "sparsity"], "accuracy")
    labels = [treatment(row.arm, row.view) for row in table.itertuples()]
    table = table.assign(row=labels, panel="", group=table["sparsity"].map(percent))
    look = {"levels": {"": 1 / classes}, "level_label": "chance", "bounds": (0, 1)}
    return dots.draw(table, METRICS["accuracy"], "What each arm reaches", panels.seeds_note(runs), **look)


def layers(densities: Mapping[str, Mapping[str, float]]) -> Figure:
    """Share of weights left in each layer, by sparsity."""
    left = pd.DataFrame({percent(float(key)): of for key, of in densities.items()}).T
    return heat_map({"by share pruned": left})


def reliability(rows: Sequence[Row], target: str) -> Figure:
    """Reliability of a cell's tuned networks, by sparsity and view."""
    tuned = [row | row["metrics"] for row in rows if row["status"] == "ok" and row["arm"] == "main"]
    label = {"prompted": "with prompt", "bare": "no prompt"}
    columns: dict[str, list[Row]] = {}
    for row in tuned:
        columns.setdefault(f"{percent(row['sparsity'])}, {label[row['view']]}", []).append(row)
    return diagrams.draw({target: columns}, "Reliability of pruned networks", "")


def heat_map(left: Mapping[str, pd.DataFrame], network: str = "") -> Figure:
    """Share of weights left (rows × layers) on a logarithmic scale, by title; `network` is whose layers they are."""
    shares = {title: table.rename(columns=lambda name: name.removesuffix(".weight")) for title, table in left.items()}
    logs = {title: np.log10(table.clip(lower=1e-4)) for title, table in shares.items()}
    maps = {title: (logs[title], table.map(_share)) for title, table in shares.items()}
    ticks = {-3: "0.1", -2: "1", -1: "10", 0: "100"}
    title, note = "What is left of each layer", f"{network + ', first' if network else 'First'} seeds."
    return heat.draw(maps, (-3, 0), "cividis", "weights left (%)", title, note, ticks=ticks)


def _share(value: float) -> str:
    return "0" if value == 0 else f"{100 * value:.0f}" if value >= 0.0095 else f"{100 * value:.1f}"
