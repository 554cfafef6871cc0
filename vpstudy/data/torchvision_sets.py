"""The papers' data sets through torchvision, which downloads them and checks what it got."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from vpstudy.data.raw import Found
from vpstudy.data.sources import TORCHVISION

TRIES = 3


def find(data_set: str, root: Path, download: bool = False, pause: float = 5.0) -> Found:
    """The data set of this name of torchvision in `root`; with `download`, it is fetched to there, where it lacks.

    Files are in the order of their paths; what torchvision keeps in arrays is numbered.

    Raises ValueError where the set is not there, or could not be fetched; the message says what to do.
    """
    parts = TORCHVISION[data_set]
    made = [[_made(data_set, root, how, download, pause) for how in part] for part in parts]
    loaded = [(one, is_test) for part, is_test in zip(made, (False, True), strict=True) for one in part]
    entries = []  # (name, bytes, label, in test, data set, position in it)
    for one, is_test in loaded:
        files, part = _files(one), "test" if is_test else "train"
        for i, label in enumerate(_labels(one)):
            if files is None:
                entries.append((f"{part}/{i:06d}", 0, int(label), is_test, one, i))
            else:
                path = Path(files[i])
                name = path.relative_to(root).as_posix()
                entries.append((name, path.stat().st_size, int(label), is_test, None, path))
    entries.sort(key=lambda entry: entry[0])
    names, sizes, labels, in_test, sets, places = map(list, zip(*entries, strict=True))

    def read(position: int) -> Image.Image:
        one, place = sets[position], places[position]
        return Image.open(place) if one is None else one[place][0]

    return Found(
        names,
        sizes,
        np.array(labels),
        _classes(loaded[0][0], max(labels) + 1),
        np.array(in_test) if parts[1] else None,
        read,
    )


def _made(name: str, root: Path, how: dict[str, Any], download: bool, pause: float) -> Any:
    for attempt in range(1, TRIES + 1):
        try:
            return getattr(datasets, name)(str(root), download=download, **how)
        except (OSError, RuntimeError) as error:  # no network, a file cut off, a checksum that is wrong
            if not download:
                raise ValueError(
                    f"{name} is not in {root} ({error}); `vpstudy run pictures TARGET` fetches it"
                ) from None
            if attempt == TRIES:
                raise ValueError(
                    f"torchvision could not fetch {name} in {TRIES} tries: {error}. Run it again, or put what"
                    f" torchvision.datasets.{name} expects into {root} by hand; or make an image folder of the pictures"
                    " and give its path in `pictures` of params.yaml"
                ) from None
            time.sleep(pause * attempt)
    raise AssertionError


def _labels(one: Any) -> list[int]:
    """By the name that the class of torchvision gives them; none of it says so in public for all."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if hasattr(one, attribute):
            return list(getattr(one, attribute))
    return [label for _, label in one._samples]


def _files(one: Any) -> list[str] | None:
    for attribute in ("_image_files", "_images"):
        if hasattr(one, attribute):
            return list(getattr(one, attribute))
    pairs = getattr(one, "_samples", None) or getattr(one, "samples", None)
    return [file for file, _ in pairs] if pairs else None


def _classes(one: Any, number: int) -> list[str]:
    names = getattr(one, "classes", None) or getattr(one, "categories", None)
    return list(names) if names else [str(k) for k in range(number)]
