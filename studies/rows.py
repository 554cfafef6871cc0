"""Shared parts of results: identity, settings, environment, rows; and prompts as PNG."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from pydantic import BaseModel

from studies import results
from studies.cells import Cell
from studies.statistics import BLOCKS, blocks
from vpstudy.calibration.metrics import debiased_ece, reliability_bins, summary
from vpstudy.runtime import Runtime


def head(cell: Cell, runtime: Runtime, **settings: BaseModel) -> dict:
    """Identity, full settings (defaults included) and environment of a cell, ready for JSON."""
    return {
        "cell": {
            "stage": cell.stage,
            "study": cell.study,
            "scale": cell.scale,
            **dict(cell.axes),
            "settings": {name: values.model_dump(mode="json") for name, values in settings.items()},
        },
        "environment": results.environment(**runtime.record()),
    }


def row(method: str, probabilities, labels, *, budget: int | str | None = None, seed: int = 0) -> dict:
    """The row of a finished run: metrics and reliability bins of `probabilities` (N, K) against `labels` (N,).

    `left_out` holds the metrics of claims without each block of pictures, for intervals over pictures too.
    """
    return _identity(method, budget, seed, "ok") | {
        "reason": None,
        "metrics": summary(probabilities, labels),
        "reliability": reliability_bins(probabilities, labels).to_record(),
        "left_out": _left_out(probabilities, labels) if len(labels) >= 2 * BLOCKS else None,
    }


def _left_out(probabilities, labels) -> dict[str, list[float]]:
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    of_blocks, found = blocks(len(labels)), {"accuracy": [], "ece_debiased": []}
    for kept in (of_blocks != block for block in range(BLOCKS)):
        found["accuracy"].append(round(float((probabilities[kept].argmax(1) == labels[kept]).mean()), 7))
        found["ece_debiased"].append(round(debiased_ece(probabilities[kept], labels[kept]), 7))
    return found


def lost(method: str, reason: str, *, budget: int | str | None = None, seed: int = 0) -> dict:
    """The row of a run that diverged."""
    return _identity(method, budget, seed, "diverged") | {"reason": reason, "metrics": None, "reliability": None}


def _identity(method: str, budget: int | str | None, seed: int, status: str) -> dict:
    return {"method": method, "budget": None if budget is None else str(budget), "seed": seed, "status": status}


def means(result: dict, label: Callable[[dict], dict[str, Any]]) -> pd.DataFrame:
    """Mean accuracy and debiased ECE over the seeds that finished, grouped by the `label` of rows."""
    labels = [label(row) for row in result["rows"]]
    measured = [
        {name: (row["metrics"] or {}).get(name) for name in ("accuracy", "ece_debiased")}
        | {"diverged": row["status"] == "diverged"}
        for row in result["rows"]
    ]
    table = pd.DataFrame([one | other for one, other in zip(labels, measured, strict=True)])
    reduced = {"accuracy": "mean", "ece_debiased": "mean", "diverged": "sum"}
    table = table.astype({"accuracy": float, "ece_debiased": float})
    return table.groupby([*labels[0]], sort=False).agg(reduced).round(3).reset_index()


def png(picture: torch.Tensor) -> bytes:
    """A picture (3, H, W) in [0, 1] as a PNG file."""
    pixels = (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return buffer.getvalue()
