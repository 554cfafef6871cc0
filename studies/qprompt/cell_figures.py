"""Figures of single-cell notebooks: pictures, arms, training, weights, reliability, every class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.figures import dots, lines, panels, pictures, style
from studies.figures import reliability as diagrams
from studies.figures.cell import frame as runs  # rows of a cell as a frame
from studies.figures.tables import METRICS
from studies.qprompt.labels import ZERO_SHOT
from studies.statistics import summarise

__all__ = ["arms", "by_group", "by_shots", "curves", "examples", "reliability", "runs"]

ACCURACY = METRICS["accuracy"]
Row = dict[str, Any]  # as in a result


def examples(kinds: Mapping[str, Sequence], columns: int = 8) -> Figure:
    """Pictures (3, H, W), a row for each kind."""
    shown = {(kind, k): picture for kind, of in kinds.items() for k, picture in enumerate(of[:columns])}
    return pictures.table(shown, "Where prompts are measured")


def arms(runs: pd.DataFrame) -> Figure:
    """Accuracy of every arm on base and new: mean and 95 % interval over seeds."""
    table = summarise(runs, ["arm", "group"], "accuracy").rename(columns={"arm": "row", "group": "panel"})
    return dots.draw(table.assign(group=""), ACCURACY, "What each arm reaches", panels.seeds_note(runs))


def curves(of_arms: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Accuracy on base and new over epochs, averaged over the seeds of each arm."""
    frame = pd.DataFrame(
        {"group": name, "panel": ""} | entry
        for name, seeds in of_arms.items()
        for run in seeds.values()
        for entry in run
    )
    return over_epochs(frame, "Means over seeds. Diagnostics: nothing is chosen on them.")


def over_epochs(frame: pd.DataFrame, note: str) -> Figure:
    """Accuracy on base and new over training, means of a `frame` with panel, group, epoch, base, new."""
    looks = {group: style.look(k) | {"ls": "-", "ms": 3} for k, group in enumerate(dict.fromkeys(frame["group"]))}
    return lines.draw(
        means_over(frame, {"base": f"{ACCURACY}, base", "new": f"{ACCURACY}, new"}, "line"),
        "epoch",
        "Base and new over training",
        note,
        looks=looks,
        height=2.0,
    )


def means_over(frame: pd.DataFrame, measures: Mapping[str, str], place: str) -> pd.DataFrame:
    """Means of each measure by panel or line, group and epoch; `place` is the column for the measures' words."""
    by = [name for name in ("panel", "line", "group", "epoch") if name in frame]
    means = frame.groupby(by, sort=False)[list(measures)].mean().reset_index()
    table = means.melt(by, var_name=place, value_name="mean")
    table[place] = table[place].map(dict(measures))
    return table.rename(columns={"epoch": "x"}).assign(low=np.nan, high=np.nan, n=1, n_diverged=0)


def reliability(rows: Sequence[Row]) -> Figure:
    """Reliability of the first arm on base and new, seeds pooled."""
    first = runs(rows)
    first = first[(first["arm"] == first["arm"].iloc[0]) & (first["status"] == "ok")]
    groups = {f"{group} classes": of.to_dict("records") for group, of in first.groupby("group", sort=False)}
    return diagrams.draw({"": groups}, f"Confidence against accuracy, {rows[0]['arm']}", "")


def by_shots(runs: pd.DataFrame) -> Figure:
    """Test accuracy against training pictures per class; the untrained prompt as a dotted line."""
    learned = runs[runs["budget"] != "0"]
    table = summarise(learned, ["target", "arm", "budget"] if "target" in runs else ["arm", "budget"], "accuracy")
    table = table.assign(
        x=np.log2(table["budget"].astype(float)), group=table["arm"], panel=table.get("target", ""), line=ACCURACY
    )
    untrained = runs[(runs["arm"] == ZERO_SHOT) & (runs["group"] == "all")]
    panel = untrained["target"] if "target" in runs else ""
    means = untrained.assign(panel=panel).groupby("panel")["accuracy"].mean()
    levels = {(ACCURACY, panel): mean for panel, mean in means.items()}
    looks = {arm: style.look(k) | {"ls": "-"} for k, arm in enumerate(dict.fromkeys(table["group"]))}
    ticks = dict(zip(table["x"], table["budget"], strict=True))
    note = f"All classes of the target. {panels.seeds_note(learned)}"
    shape = {"levels": levels, "level_label": ZERO_SHOT, "height": 2.2}
    x = "training pictures per class"
    return lines.draw(table, x, "From few pictures", note, looks=looks, ticks=ticks, **shape)


def by_group(runs: pd.DataFrame) -> Figure:
    """Test accuracy on each kind of pictures: mean and 95 % interval."""
    named = runs.assign(row=runs["group"].replace({"all": "as learned"}), group=runs["arm"], panel="")
    table = summarise(named, ["row", "panel", "group"], "accuracy")
    return dots.draw(table, ACCURACY, "Pictures that prompts did not learn from", panels.seeds_note(runs))
