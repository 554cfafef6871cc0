"""The learned borders of a cell side by side in one PNG: which it shows, and how they are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Key = tuple[str, int]  # arm, bits


def shown(rows: Sequence[dict[str, Any]]) -> list[Key]:
    """The borders in the strip, in order: those of the first seed, in full or clustered, that did not diverge.

    Rows hold arm, codebook, bits, seed and status.
    """
    kinds = (("full", None), ("ptq", "clustered"), ("qat", "clustered"))
    done = [row for row in rows if row["seed"] == rows[0]["seed"] and row["status"] == "ok"]
    return [(row["arm"], row["bits"]) for row in done if (row["arm"], row["codebook"]) in kinds]


def read(path: Path, rows: Sequence[dict[str, Any]]) -> dict[Key, np.ndarray]:
    """Each border that is shown, uint8 (3, canvas, canvas)."""
    keys = shown(rows)
    pixels = np.moveaxis(np.asarray(Image.open(path).convert("RGB")), 2, 0)
    return dict(zip(keys, np.split(pixels, len(keys), axis=2), strict=True)) if keys else {}
