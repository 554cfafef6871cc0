"""Tables of prompt notebooks: means over the seeds that finished, and changes after storage."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from studies.figures.cell import frame

Row = dict[str, Any]  # as in a result


def base_and_new(rows: Sequence[Row]) -> pd.DataFrame:
    """Accuracy on base and new and their harmonic mean, by arm."""
    runs = frame(rows)
    by = [name for name in ("prompter", "arm", "bytes") if name in runs]
    of_runs = runs.groupby([*by, "seed", "group"], sort=False)["accuracy"].mean()  # NaN where all have diverged
    wide = of_runs.unstack("group", sort=False).reindex(columns=["base", "new"])
    wide["harmonic mean"] = 2 * wide["base"] * wide["new"] / (wide["base"] + wide["new"]).clip(lower=1e-12)
    return wide.groupby(by, sort=False).mean().round(3).reset_index()


def by_group_and_shots(rows: Sequence[Row]) -> pd.DataFrame:
    """Accuracy by arm: a column for each group and number of training pictures per class, 0 for zero-shot."""
    runs = frame(rows).rename(columns={"budget": "pictures per class"})
    return runs.pivot_table("accuracy", ["arm", "bytes"], ["group", "pictures per class"], sort=False).round(3)


def changed(logits: Tensor, again: Tensor) -> dict[str, int | float]:
    """Differences in logits (N, K) after a prompt is stored and unpacked."""
    return {
        "largest change of a logit": float((again - logits).abs().max()),
        "answers that change": int((again.argmax(1) != logits.argmax(1)).sum()),
    }
