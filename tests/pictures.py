"""Folders of pictures for tests: small, of plain colours with a little noise, each told by its name."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def picture(name: str, size: tuple[int, int] = (12, 9)) -> Image.Image:
    """RGB, (width, height), always the same for the same name."""
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    return Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def folder(root: Path, counts: dict[str, int]) -> Path:
    """`root` with so many pictures in each folder: {"train/cat": 3}."""
    for place, count in counts.items():
        (root / place).mkdir(parents=True)
        for i in range(count):
            picture(f"{place}/{i}").save(root / place / f"{i:02d}.png")
    return root
