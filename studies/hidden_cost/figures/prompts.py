"""The learned prompts: what each compressed backbone wants to see around a picture."""

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, style
from studies.figures.pictures import decoded, prompted_runs


def draw(results: pd.DataFrame) -> Figure:
    """A row for each target, a column for each compression; one backbone, first seed, largest budget."""
    runs, which = prompted_runs(results)
    targets, names = list(dict.fromkeys(runs["target"])), compressions.shown(runs["compression"])
    side = min(style.WIDTH / len(names), 2.2)
    figure, axes = style.new_figure(len(targets), len(names), 0.8 + len(targets) * side)
    runs = runs.set_index(["target", "compression"])
    for target, row in zip(targets, axes, strict=True):
        for name, axis in zip(names, row, strict=True):
            style.bare(axis)
            if (target, name) not in runs.index:
                continue
            run = runs.loc[(target, name)]
            if run["status"] == "ok":
                style.show(axis, decoded(run["prompt_png"]))
            else:
                axis.set_box_aspect(1)
                axis.text(0.5, 0.5, run["status"], ha="center", va="center")
        row[0].set_ylabel(target)
    for name, axis in zip(names, axes[0], strict=True):
        axis.set_title(compressions.short_label(name))
    style.caption(
        figure, "The learned prompts", f"{which} Training starts from mid-grey; the picture's place is black."
    )
    return figure
