"""Learned prompts and label mappings in pictures, dense beside compressed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, panels, style
from studies.figures.pictures import NO_EVIDENCE

MOST_ROWS = 12  # a target may have a hundred classes
LETTERS = 9  # fit beside a picture

Picture = Any  # (3, H, W), uint8 or in [0, 1], NumPy or torch


def _prompted(results: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Visual prompting runs of one backbone at the largest budget with the first seeds, and a note on them."""
    panels.only_backbone(results)
    runs, budget = panels.at_largest_budget(results[results["method"] == "visual_prompting"])
    runs = runs[runs["source_seed"] == runs["source_seed"].iloc[0]]
    return runs[runs["seed"] == runs["seed"].iloc[0]], f"{budget} Seed {runs['seed'].iloc[0]}."


def prompts(results: pd.DataFrame, pictures: Mapping[tuple[str, str], np.ndarray]) -> Figure:
    """Learned prompts, targets × compressions, from `pictures` by (target, compression); one backbone, first seed."""
    runs, which = _prompted(results)
    targets, names = list(dict.fromkeys(runs["target"])), compressions.shown(runs["compression"])
    status = runs.set_index(["target", "compression"])["status"]
    side = min(style.WIDTH / len(names), 2.2)
    figure, axes = style.new_figure(len(targets), len(names), 0.8 + len(targets) * side)
    for target, row in zip(targets, axes, strict=True):
        for name, axis in zip(names, row, strict=True):
            style.bare(axis)
            if status.get((target, name)) == "ok" and (target, name) in pictures:
                style.show(axis, pictures[target, name])
            else:
                axis.set_box_aspect(1)
                words = status.get((target, name), "not run").replace("ok", "no picture")
                axis.text(0.5, 0.5, words, ha="center", va="center")
        row[0].set_ylabel(target)
    for name, axis in zip(names, axes[0], strict=True):
        axis.set_title(compressions.short_label(name))
    note = f"{which} Training starts from mid-grey; the picture's place is black."
    style.caption(figure, "The learned prompts", note)
    return figure


def mapping(
    results: pd.DataFrame,
    target: str,
    target_pictures: Sequence[Picture],
    target_names: Sequence[str],
    source_picture: Callable[[str], Picture],
    source_names: Sequence[str],
) -> Figure:
    """A row per target class: an example, then one of its source class under each compression; one backbone.

    Mappings are those of the first seed at the largest budget. `target_pictures` holds an example (3, H, W) of each
    target class; `source_picture` gives one for the name of a source class (for glyphs, the character).
    """
    runs, which = _prompted(results[results["target"] == target])
    runs = runs.set_index("compression")
    names, shown = compressions.shown(runs.index), min(len(target_names), MOST_ROWS)
    mappings = {name: runs.loc[name, "mapping"] for name in names if runs.loc[name, "status"] == "ok"}
    figure, axes = style.new_figure(shown, 1 + len(names), 0.95 + 0.58 * shown)
    for k, row in enumerate(axes):
        style.show(row[0], target_pictures[k])
        row[0].set_ylabel(target_names[k], rotation=0, ha="right", va="center")
        for name, axis in zip(names, row[1:], strict=True):
            style.bare(axis)
            if name not in mappings:
                axis.text(0.5, 0.5, runs.loc[name, "status"], ha="center", va="center")
                continue
            if "evidence" in runs and not runs.loc[name, "evidence"][k]:
                axis.text(0.5, 0.5, NO_EVIDENCE.replace(" ", "\n"), ha="center", va="center", color=style.GREY)
                continue
            source = source_names[mappings[name][k]]
            moved = "dense" in mappings and mappings[name][k] != mappings["dense"][k]
            look = {"color": style.ALARM, "weight": "bold"} if moved else {"color": "black"}
            style.show(axis, source_picture(source))
            axis.annotate(source[:LETTERS], (1.1, 0.5), xycoords="axes fraction", va="center", size=10, **look)
    for title, axis in zip(["target", *map(compressions.short_label, names)], axes[0], strict=True):
        axis.set_title(title)
    some = f" {shown} of {len(target_names)} classes." if shown < len(target_names) else ""
    note = f"Visual prompt. {which}{some} Bold and coloured: another source class than on the dense backbone."
    style.caption(figure, f"Label mapping of {target}: the source class that stands for each target class", note)
    return figure
