"""The label mapping, dense against compressed: which source class stands for each target class?"""

import textwrap
from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from studies.figures import compressions, style
from studies.figures.pictures import prompted_runs

MOST_ROWS = 12  # a target may have a hundred classes
LETTERS = 9  # that fit beside a picture
LINES = 3  # of a name in place of a picture


def draw(
    results: pd.DataFrame,
    target: str,
    target_pictures: Sequence,
    target_names: Sequence[str],
    source_picture: Callable[[int], object] | None,
    source_names: Sequence[str],
) -> Figure:
    """A row for each target class: an example, then one of the source class it is mapped to, by compression.

    Parameters
    ----------
    results
        Tidy frame of one backbone; the mappings are those of the first seed at the largest budget.
    target_pictures, target_names
        One example (3, H, W) and one name for each class of `target`.
    source_picture
        From the index of a source class to an example (3, H, W); None where there are no source pictures.
    source_names
        One for each source class: for glyphs, the character. Written in place of a picture where there is none.
    """
    runs, which = prompted_runs(results[results["target"] == target])
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
            source = mappings[name][k]
            look = {"color": "black"}
            if "dense" in mappings and source != mappings["dense"][k]:
                look = {"color": style.ALARM, "weight": "bold"}
            if source_picture is None:
                lines = textwrap.wrap(source_names[source], LETTERS, break_long_words=False)[:LINES]
                axis.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", size=6, **look)
                continue
            style.show(axis, source_picture(source))
            text = source_names[source][:LETTERS]
            axis.annotate(text, (1.1, 0.5), xycoords="axes fraction", va="center", size=10, **look)
    for title, axis in zip(["target", *map(compressions.short_label, names)], axes[0], strict=True):
        axis.set_title(title)
    some = f" {shown} of {len(target_names)} classes." if shown < len(target_names) else ""
    style.caption(
        figure,
        f"Label mapping of {target}: the source class that stands for each target class",
        f"Visual prompt. {which}{some} Bold and coloured: another source class than on the dense backbone.",
    )
    return figure
