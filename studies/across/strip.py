"""The strip of learned borders of a cell in one PNG: its contents and how to read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Key = tuple[str, int]  # arm, bits


def shown(rows: Sequence[dict[str, Any]]) -> list[Key]:
    """Keys of the borders in the strip, in order: first seed, full precision or clustered, not diverged."""
    kinds = (("full", None), ("ptq", "clustered"), ("qat", "clustered"))
    done = [row for row in rows if row["seed"] == rows[0]["seed"] and row["status"] == "ok"]
    return [(row["arm"], row["bits"]) for row in done if (row["arm"], row["codebook"]) in kinds]


def read(path: Path, rows: Sequence[dict[str, Any]]) -> dict[Key, np.ndarray]:
    """Borders in the strip by key, uint8 (3, canvas, canvas)."""
    keys = shown(rows)
    pixels = np.moveaxis(np.asarray(Image.open(path).convert("RGB")), 2, 0)
    return dict(zip(keys, np.split(pixels, len(keys), axis=2), strict=True)) if keys else {}
