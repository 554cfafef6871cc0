"""A folder of class folders, or a zip of it."""

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
    """The pictures in a folder or .zip: `train/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.

    `val/` is the test set where there is no `test/`, else a part of the pool. Other folders beside these are ignored,
    and so are folders around all pictures. Classes are in the order of their names, as numbers if all are numbers.
    torchvision's ImageFolder finds the same pictures and classes in one part; it reads no zips.

    Raises ValueError, naming the paths, for no pictures or fewer than two classes, class folders without pictures,
    pictures outside of class folders, classes in the test set alone, and a file that is no zip.
    """
    archive = _zip(location) if location.suffix == ".zip" else None
    entries = {name: size for name, size in (_zipped(archive) if archive else _walked(location)) if _wanted(name)}
    names = sorted(name for name in entries if not name.endswith("/"))
    if not names:
        raise ValueError(f"{location}: there are no pictures in it; expected: {LAYOUT}")
    around = os.path.commonpath([os.path.dirname(name) for name in names])
    around += "/" if around else ""
    tops = {_steps(name, around)[0] for name in names}
    test = next((part for part in ("test", "val") if {"train", part} <= tops), None)
    if test:
        names = [name for name in names if _steps(name, around)[0] in PARTS]
    depth = 1 if test else 0  # of the class folders
    places = [_steps(name, around) for name in names]
    if outside := [name for name, place in zip(names, places, strict=True) if len(place) < depth + 2]:
        raise ValueError(f"{location}: {_some(outside)} in no class folder; expected: {LAYOUT}")
    below = [_steps(name, around)[:-1] for name in entries if name.startswith(around) and name.endswith("/")]
    empty = {"/".join(place) for place in below if len(place) == depth + 1 and (not test or place[0] in PARTS)}
    if empty := empty - {"/".join(place[: depth + 1]) for place in places}:
        raise ValueError(f"{location}: class folders without pictures: {_some(empty)}; fill or remove them")
    in_test = np.array([place[0] == test for place in places])
    classes = np.array([place[depth] for place in places])
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
        [name.removeprefix(around) for name in names],
        [entries[name] for name in names],
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
    """Paths and bytes; those of folders end with a slash."""
    return ((entry.filename, entry.file_size) for entry in archive.infolist())


def _walked(location: Path) -> Iterator[tuple[str, int]]:
    """The same of a folder; links are followed."""
    for top, folders, files in os.walk(location, followlinks=True):
        relative = Path(top).relative_to(location).as_posix()
        start = "" if relative == "." else f"{relative}/"
        yield from ((f"{start}{name}/", 0) for name in folders)
        yield from ((start + name, os.stat(os.path.join(top, name)).st_size) for name in files if _wanted(name))


def _wanted(name: str) -> bool:
    return name.lower().endswith((*IMG_EXTENSIONS, "/")) and not HIDDEN.search(name)


def _steps(name: str, around: str) -> list[str]:
    return name.removeprefix(around).split("/")


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
