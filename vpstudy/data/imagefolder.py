"""Reader for folders of class folders and zips of them."""

import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from vpstudy.data.origin import LAYOUT
from vpstudy.data.originals import Originals

HIDDEN = re.compile(r"(^|/)(\.|__MACOSX)")
PARTS = ("train", "val", "test")


def find(location: Path) -> Originals:
    """List the pictures in a folder or .zip with `train/CLASS/…` and `test/CLASS/…`, or only `CLASS/…`.

    `val/` is the test set if there is no `test/`, else part of the pool. Folders beside these three and folders around
    all pictures are ignored. Classes are sorted by name, or as numbers if all are. torchvision's ImageFolder finds
    the same pictures in one part, but reads no zips. Raises ValueError for unreadable zips and other layouts.
    """
    archive = _zip(location) if location.suffix == ".zip" else None
    sizes = dict(sorted(item for item in (_zipped(archive) if archive else _walked(location)) if _wanted(item[0])))
    names = [name for name in sizes if not name.endswith("/")]
    if not names:
        raise ValueError(f"{location}: there are no pictures in it; expected: {LAYOUT}")
    around = os.path.join(os.path.commonpath([os.path.dirname(name) for name in names]), "")
    places = {name: name.removeprefix(around).split("/") for name in sizes if name.startswith(around)}
    tops = {places[name][0] for name in names}
    test = next((part for part in ("test", "val") if {"train", part} <= tops), None)
    if test:
        places = {name: place for name, place in places.items() if place[0] in PARTS}
        names = [name for name in names if name in places]
    depth = 2 if test else 1  # of class folders
    if outside := [name for name in names if len(places[name]) <= depth]:
        raise ValueError(f"{location}: {_some(outside)} in no class folder; expected: {LAYOUT}")
    filled = {"/".join(places[name][:depth]) for name in names}
    if empty := {"/".join(place[:depth]) for place in places.values() if len(place) > depth} - filled:
        raise ValueError(f"{location}: class folders without pictures: {_some(empty)}; fill or remove them")
    in_test = np.array([places[name][0] == test for name in names])
    classes = np.array([places[name][depth - 1] for name in names])
    if unknown := set(classes[in_test]) - set(classes[~in_test]):
        raise ValueError(f"{location}: {test}/ has classes that train/ lacks: {_some(unknown)}; add or remove them")
    folders = sorted(set(classes.tolist()), key=int if all(map(str.isdecimal, classes.tolist())) else str)
    if len(folders) < 2:
        raise ValueError(f"{location}: one class only ({folders[0]}); expected: {LAYOUT}")
    index = {name: k for k, name in enumerate(folders)}

    def read(position: int) -> Image.Image:
        name = names[position]
        return Image.open(io.BytesIO(archive.read(name)) if archive else location / name)

    return Originals(
        ["/".join(places[name]) for name in names],
        [sizes[name] for name in names],
        np.array([index[name] for name in classes.tolist()]),
        folders,
        in_test if test else None,
        read,
    )


def _zip(location: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(location)
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        raise ValueError(f"{location}: {error}; get the file again") from None


def _zipped(archive: zipfile.ZipFile) -> Iterator[tuple[str, int]]:
    """Paths and sizes in bytes; folders end with a slash."""
    return ((entry.filename, entry.file_size) for entry in archive.infolist())


def _walked(location: Path) -> Iterator[tuple[str, int]]:
    for top, folders, files in os.walk(location, followlinks=True):
        relative = Path(top).relative_to(location).as_posix()
        start = "" if relative == "." else f"{relative}/"
        yield from ((f"{start}{name}/", 0) for name in folders)
        yield from ((start + name, os.stat(os.path.join(top, name)).st_size) for name in files if _wanted(name))


def _wanted(name: str) -> bool:
    return name.lower().endswith((*IMG_EXTENSIONS, "/")) and not HIDDEN.search(name)


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
