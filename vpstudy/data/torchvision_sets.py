"""Data sets from torchvision, which downloads and verifies them."""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from vpstudy.data.originals import Originals
from vpstudy.data.registry import TORCHVISION


def find(name: str, root: Path, download: bool = False) -> Originals:
    """List the data set `name` in `root`, sorted by path, or by part and number if it has no list of paths.

    Raises ValueError with instructions if the set is missing or cannot be downloaded.
    """
    parts = TORCHVISION[name]
    loaded = [
        (_load(name, root, download, arguments), in_test) for in_test, part in enumerate(parts) for arguments in part
    ]
    rows: list[tuple[str, int, int, bool, Callable[[], Image.Image]]] = []
    for one, in_test in loaded:
        files = _files(one)
        for i, label in enumerate(_labels(one)):
            if files is None:
                row = (f"{'test' if in_test else 'train'}/{i:06d}", 0, partial(_picture, one, i))
            else:
                path = Path(files[i])
                row = (path.relative_to(root).as_posix(), path.stat().st_size, partial(Image.open, path))
            rows.append((row[0], row[1], int(label), bool(in_test), row[2]))
    rows.sort(key=itemgetter(0))
    names, sizes, labels, in_test, openers = map(list, zip(*rows, strict=True))
    first = loaded[0][0]
    classes = getattr(first, "classes", None) or getattr(first, "categories", None) or range(max(labels) + 1)
    return Originals(
        names,
        sizes,
        np.array(labels),
        list(map(str, classes)),
        np.array(in_test) if parts[1] else None,
        lambda position: openers[position](),
    )


def _load(name: str, root: Path, download: bool, arguments: dict[str, Any]) -> Any:
    try:
        return getattr(datasets, name)(str(root), download=download, **arguments)
    except (OSError, RuntimeError) as error:  # no network, a truncated file, a wrong checksum
        raise ValueError(
            f"torchvision did not find {name} in {root}, or could not fetch it: {error}. Run `vpstudy repro pictures`"
            f" again, or put what torchvision.datasets.{name} expects there by hand; or make an image folder of the"
            " pictures and give its path in `pictures` of params.yaml"
        ) from None


def _picture(one: Any, i: int) -> Image.Image:
    return one[i][0]


def _labels(one: Any) -> list[int]:
    """Labels without opening pictures; the attribute differs between torchvision classes."""
    known = (getattr(one, name) for name in ("targets", "labels", "_labels", "y") if hasattr(one, name))
    return list(next(known, None) or [label for _, label in one._samples])


def _files(one: Any) -> list[str] | None:
    """Paths of the pictures; None for sets in arrays."""
    if isinstance(one, datasets.Caltech101):  # keeps no paths, but what they are made of
        folders = Path(one.root, "101_ObjectCategories")
        pairs = zip(one.y, one.index, strict=True)
        return [str(folders / one.categories[k] / f"image_{number:04d}.jpg") for k, number in pairs]
    known = (getattr(one, name) for name in ("_image_files", "_images") if hasattr(one, name))
    pairs = getattr(one, "_samples", None) or getattr(one, "samples", None) or ()
    return list(next(known, None) or [file for file, _ in pairs]) or None
