"""A folder of class folders, or a zip of it: the layout that every kind of pictures can be brought to."""

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from vpstudy.data.raw import Found
from vpstudy.data.sources import LAYOUT

HIDDEN = re.compile(r"(^|/)(\.|__MACOSX)")


def find(location: Path) -> Found:
    """What lies in a folder or .zip: `train/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.

    `val/` stands for a `test/` that is not there; beside one, it belongs to what training and validation draw from.
    Further folders beside those are left alone. One folder around all is looked through. Classes are in the order of
    their names, of numbers if all are numbers.

    Raises ValueError, with the paths that are wrong, for no pictures or fewer than two classes, a class folder without
    pictures, a picture outside of class folders, a class in the test set alone, and a file that is no zip.
    """
    archive = _zip(location) if location.suffix == ".zip" else None
    sizes, folders = _zipped(archive) if archive else _walked(location)
    around = _around(sizes, folders)
    sizes = {name: size for name, size in sizes.items() if name.startswith(around)}
    names = sorted(sizes)
    if not names:
        raise ValueError(f"{location}: there are no pictures in it; expected: {LAYOUT}")
    places = [name.removeprefix(around).split("/") for name in names]
    below = [folder.removeprefix(around).split("/") for folder in folders if folder.startswith(around)]
    tops = {place[0] for place in (*below, *places)}
    tests = next((part for part in ("test", "val") if {"train", part} <= tops), None)
    if tests:
        kept = [i for i, place in enumerate(places) if place[0] in ("train", "val", "test")]
        names, places = [names[i] for i in kept], [places[i] for i in kept]
        below = [place for place in below if place[0] in ("train", "val", "test")]
    depth = 1 if tests else 0  # of the folder that names the class
    outside = [name for name, place in zip(names, places, strict=True) if len(place) < depth + 2]
    if outside:
        raise ValueError(f"{location}: {_some(outside)} in no class folder; expected: {LAYOUT}")
    parts = np.array([place[0] == tests for place in places]) if tests else None
    classes = [place[depth] for place in places]
    _no_empty_folder(location, below, {tuple(place[: depth + 1]) for place in places}, depth + 1)
    if tests and (unknown := set(np.array(classes)[parts]) - set(np.array(classes)[~parts])):
        raise ValueError(f"{location}: {tests}/ has classes that train/ lacks: {_some(unknown)}; add or remove them")
    ordered = sorted(set(classes), key=int if all(name.isdecimal() for name in classes) else str)
    if len(ordered) < 2:
        raise ValueError(f"{location}: one class only ({ordered[0]}); expected: {LAYOUT}")
    index = {name: k for k, name in enumerate(ordered)}
    labels = np.array([index[name] for name in classes])

    def read(position: int) -> Image.Image:
        name = names[position]
        return Image.open(io.BytesIO(archive.read(name)) if archive else location / name)

    shown = [name.removeprefix(around) for name in names]
    return Found(shown, [sizes[name] for name in names], labels, ordered, parts, read)


def _zip(location: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(location)
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        raise ValueError(f"{location}: {error}; get the file again") from None


def _zipped(archive: zipfile.ZipFile) -> tuple[dict[str, int], set[str]]:
    """Pictures with their bytes, and folders, as paths in a zip."""
    entries = [entry for entry in archive.infolist() if not HIDDEN.search(entry.filename)]
    sizes = {entry.filename: entry.file_size for entry in entries if _is_picture(entry.filename)}
    folders = {entry.filename.rstrip("/") for entry in entries if entry.is_dir()}
    return sizes, folders | {parent for name in sizes for parent in _parents(name)}


def _walked(location: Path) -> tuple[dict[str, int], set[str]]:
    """The same of a folder; links are followed."""
    sizes, folders = {}, set()
    for top, below, files in os.walk(location, followlinks=True):
        relative = Path(top).relative_to(location).as_posix()
        start = "" if relative == "." else f"{relative}/"
        folders |= {f"{start}{name}" for name in below if not HIDDEN.search(name)}
        below[:] = [name for name in below if not HIDDEN.search(name)]
        sizes |= {f"{start}{f}": Path(top, f).stat().st_size for f in files if _is_picture(f) and not HIDDEN.search(f)}
    return sizes, folders


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _around(sizes: dict[str, int], folders: set[str]) -> str:
    """The folder that holds all others and no picture itself, with a slash; "" where there is none."""
    around = ""
    while True:
        inside = [path.removeprefix(around) for path in (*sizes, *folders) if path.startswith(around)]
        below = {path.split("/")[0] for path in inside}
        if len(below) != 1 or not any(f.startswith(f"{around}{min(below)}/") for f in folders):
            return around
        around += f"{min(below)}/"


def _no_empty_folder(location: Path, folders: list[list[str]], filled: set[tuple[str, ...]], depth: int) -> None:
    empty = {"/".join(place) for place in folders if len(place) == depth and tuple(place) not in filled}
    if empty:
        raise ValueError(f"{location}: class folders without pictures: {_some(empty)}; fill or remove them")


def _some(names) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
