"""Reader for folders of class folders and zips of them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vpstudy.data import files
from vpstudy.data.origin import LAYOUT
from vpstudy.data.originals import Originals

KIND, MORE = r"(?:set|data|dataset|split|images?|imgs|pictures)", r"[ _-]?"
PART = re.compile(
    rf"(?:{KIND}{MORE})?(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev"
    rf"|eval(?:uation)?))(?:{MORE}{KIND})?{MORE}\d*",
    re.IGNORECASE,
)


def find(location: Path) -> Originals:
    """List the pictures in a folder or .zip with `train/CLASS/…` and `test/CLASS/…`, or only `CLASS/…`.

    Parts may be spelled otherwise: Training, test_set, valid. `val/` is the test set if there is no `test/`, else part
    of the pool. Folders around all pictures are ignored; what else is left out is counted. Classes are in natural
    order: 2 before 10. Raises ValueError for what cannot be read, pictures found twice through links, and layouts
    that may be parts as well as classes.
    """
    found = files.find(location)
    names = sorted(name for name in found.sizes if not name.endswith("/"))
    if not names:
        raise ValueError(f"{location}: there are no pictures in it{found.without}; expected: {LAYOUT}")
    around = os.path.join(os.path.commonpath([os.path.dirname(name) for name in names]), "")
    places = {name: name.removeprefix(around).split("/") for name in found.sizes if name.startswith(around)}
    parts = {place[0]: part(place[0]) for place in places.values()}
    tops = {parts[places[name][0]] for name in names}
    test = next((each for each in ("test", "val") if {"train", each} <= tops), None)
    if test:
        places = {name: place for name, place in places.items() if parts[place[0]]}
        found.left_out["pictures beside train/ and test/"] = sum(name not in places for name in names)
        names = [name for name in names if name in places]
    depth = 2 if test else 1  # of class folders
    if outside := [name for name in names if len(places[name]) <= depth]:
        raise ValueError(f"{location}: {_some(outside)} in no class folder; expected: {LAYOUT}")
    filled = {"/".join(places[name][:depth]) for name in names}
    if empty := {"/".join(place[:depth]) for place in places.values() if len(place) > depth} - filled:
        raise ValueError(
            f"{location}: class folders without pictures: {_some(empty)}; fill or remove them{found.without}"
        )
    if not test:
        _refuse_parts(location, [places[name] for name in names])
    first: dict[Any, str] = {}
    if twice := [f"{name} is {other}" for name in names if (other := first.setdefault(found.same[name], name)) != name]:
        raise ValueError(f"{location}: {_some(twice)}, through links; keep one of the two")
    in_test = np.array([parts[places[name][0]] == test for name in names])
    classes = np.array([places[name][depth - 1] for name in names])
    if unknown := set(classes[in_test]) - set(classes[~in_test]):
        raise ValueError(f"{location}: {test}/ has classes that train/ lacks: {_some(unknown)}; add or remove them")
    folders = sorted(set(classes.tolist()), key=natural)
    if len(folders) < 2:
        raise ValueError(f"{location}: one class only ({folders[0]}); expected: {LAYOUT}")
    index = {name: k for k, name in enumerate(folders)}

    return Originals(
        ["/".join(places[name]) for name in names],
        [found.sizes[name] for name in names],
        np.array([index[name] for name in classes.tolist()]),
        folders,
        in_test if test else None,
        lambda position: found.open(names[position]),
        dict(sorted((+found.left_out).items())),
    )


def part(folder: str) -> str:
    """train, val or test if the name of a folder is a usual spelling of it, else ""."""
    match = PART.fullmatch(folder)
    return (match and match.lastgroup) or ""


def natural(name: str) -> tuple[list[str | int], str]:
    """Key that sorts numbers in names by value, and equal ones (1, 01) by spelling."""
    return [int(each) if each.isdecimal() else each for each in re.split(r"(\d+)", name)], name


def _refuse_parts(location: Path, places: list[list[str]]) -> None:
    """Raise ValueError if every top folder holds the same two or more folders: a class would be a part."""
    inside: dict[str, set[str]] = {}
    for top, *between, _ in places:
        inside.setdefault(top, set()).add(between[-1] if between else "")
    most = max(inside.values(), key=len)
    if len(inside) > 1 and len(most) > 1 and all(each <= most and "" not in each for each in inside.values()):
        raise ValueError(
            f"{location}: each of {_some(inside)} holds the same folders ({_some(most)}). If these are the classes,"
            " call the folders around them train and test; if not, put the pictures straight into their class folders"
        )


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
