"""Figures of the pictures notebook: number of pictures by class, sizes of originals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from studies.figures import style

POOL, TEST = "#0072B2", "#D55E00"
NAMED = 60  # most classes that are named at the axis


def counts(names: Sequence[str], pool: Sequence[int], test: Sequence[int], left_out: str = "") -> Figure:
    """Pictures of each class in the pool and in the test set; `left_out` says what is in neither."""
    n = len(names)
    figure, ((axis,),) = style.new_figure(1, 1, 1.0 + (0.15 * n if n <= NAMED else 4))
    axis.barh(range(n), pool, color=POOL, height=0.8, lw=0, label="training and validation draw from these")
    axis.barh(range(n), test, left=pool, color=TEST, height=0.8, lw=0, label="test")
    if n <= NAMED:
        axis.set_yticks(range(n), names)
    else:
        axis.set_ylabel(f"{n} classes")
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.grid(False, axis="y")
    axis.set_xlabel("pictures")
    figure.legend(loc="outside lower center", ncols=2)
    more = f" Left out: {left_out}." if left_out else ""
    style.caption(figure, "Pictures of each class", f"{sum(pool):,} and {sum(test):,} in all.{more}")
    return figure


def originals(sizes: np.ndarray, total: int) -> Figure:
    """Width against height of stored originals; `sizes` (N, 2) in px."""
    figure, ((axis,),) = style.new_figure(1, 1, 3.2)
    axis.plot(*sizes.T, "o", ms=3, color=POOL, alpha=0.3, mew=0)
    axis.set(xlabel="width (px)", ylabel="height (px)", xlim=(0, None), ylim=(0, None), aspect="equal")
    some = f"{len(sizes):,} of {total:,}, drawn at random." if len(sizes) < total else "All of them."
    style.caption(figure, "Sizes of the originals", some)
    return figure
