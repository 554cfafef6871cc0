"""The strip of learned borders of a cell in one PNG: its contents and how to read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Key = tuple[str, int]  # arm, bits


def codebook(rows: Sequence[dict[str, Any]]) -> str | None:
    """The first codebook of the cell, whose borders the strip shows."""
    return next((row["codebook"] for row in rows if row["arm"] == "ptq"), None)


def shown(rows: Sequence[dict[str, Any]]) -> list[Key]:
    """Keys of the borders in the strip, in order: first seed, not diverged, of the first codebook."""
    done = [row for row in rows if row["seed"] == rows[0]["seed"] and row["status"] == "ok"]
    kinds = (("full", None), ("ptq", codebook(rows)))
    return [(row["arm"], row["bits"]) for row in done if row["arm"] == "qat" or (row["arm"], row["codebook"]) in kinds]


def read(path: Path, rows: Sequence[dict[str, Any]]) -> dict[Key, np.ndarray]:
    """Borders in the strip by key, uint8 (3, canvas, canvas)."""
    keys = shown(rows)
    pixels = np.moveaxis(np.asarray(Image.open(path).convert("RGB")), 2, 0)
    return dict(zip(keys, np.split(pixels, len(keys), axis=2), strict=True)) if keys else {}
