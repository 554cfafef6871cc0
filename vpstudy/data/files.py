"""Pictures in a folder or a zip: which files count, and what is left out."""

import io
import os
import posixpath
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

# What systems put beside pictures: hidden files, thumbnails, bins.
HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/|@eaDir/|@Recycle|#recycle/|\$RECYCLE\.BIN/)", re.IGNORECASE)
SURROGATE = re.compile("[\ud800-\udfff]")  # how Python shows bytes that are not UTF-8


@dataclass(frozen=True)
class Files:
    """Pictures and folders by relative path, folders with a slash at the end."""

    sizes: dict[str, int]  # bytes
    same: dict[str, Any]  # equal for two paths to one file
    left_out: Counter[str]
    open: Callable[[str], Image.Image]

    @property
    def without(self) -> str:
        """What was left out, in words, or ""."""
        return f" (left out: {counted(self.left_out)})" if +self.left_out else ""


def find(location: Path) -> Files:
    """What is in a folder or .zip. Raises ValueError for what cannot be read."""
    left_out: Counter[str] = Counter()
    archive = _zip(location) if location.suffix.lower() == ".zip" else None
    entries = _zipped(archive, left_out) if archive else _walked(os.path.realpath(location), "", (), left_out)
    found = {name: (size, source) for name, size, source in entries if _wanted(name, left_out)}
    if alien := next((name for name in found if SURROGATE.search(name)), None):
        raise ValueError(f"{location}: {alien!a} is no name in UTF-8; rename it")
    same = {name: source for name, (_, source) in found.items()}

    def read(name: str) -> Image.Image:
        return Image.open(io.BytesIO(archive.read(same[name])) if archive else same[name])

    return Files({name: size for name, (size, _) in found.items()}, same, left_out, read)


def counted(left_out: dict[str, int]) -> str:
    """Counts in words: "3 .gif, 1 links that lead nowhere"."""
    return ", ".join(f"{n} {what}" for what, n in sorted(left_out.items()) if n)


def _zip(location: Path) -> zipfile.ZipFile:
    """Open an archive, and an entry of each kind that is in it. Any error of a damaged one becomes a ValueError."""
    name = ""
    try:
        archive = zipfile.ZipFile(location)
        for entry in {(e.compress_type, e.flag_bits & 1): e for e in archive.infolist() if e.file_size}.values():
            name = f", {entry.filename}"
            archive.open(entry).close()
    except Exception as error:  # zipfile raises many kinds
        raise ValueError(f"{location}{name}: {error}; get the file again, or unpack it and give the folder") from None
    return archive


def _zipped(archive: zipfile.ZipFile, left_out: Counter[str]) -> Iterator[tuple[str, int, Any]]:
    """Paths, sizes in bytes, and entries; paths of folders end with a slash."""
    for entry in archive.infolist():
        name = entry.filename.replace("\\", "/")
        path = posixpath.normpath(f"/{name}").lstrip("/")  # without ./ and ../
        if stat.S_ISLNK(entry.external_attr >> 16):
            left_out["links"] += 1
        elif path:
            yield path + "/" * name.endswith("/"), entry.file_size, entry


def _walked(folder: str, start: str, above: tuple[str, ...], left_out: Counter[str]) -> Iterator[tuple[str, int, Any]]:
    """Paths, sizes in bytes, and real paths of all below `folder`, a real path, and behind links.

    Links to a folder that they lie in would never end, so they are left out, as links that lead nowhere are.
    """
    chain = (*above, folder)
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ValueError(f"{folder}: {error.strerror}; make it readable, or remove it") from None
    for entry in entries:
        name, is_link = start + entry.name, entry.is_symlink()
        real = os.path.realpath(entry.path) if is_link else entry.path
        if os.path.isdir(real) if is_link else entry.is_dir():
            if any(Path(each).is_relative_to(real) for each in chain):
                left_out["links to a folder around them"] += 1
            else:
                yield f"{name}/", 0, real
                yield from _walked(real, f"{name}/", chain, left_out)
        elif not (os.path.isfile(real) if is_link else entry.is_file()):
            left_out["links that lead nowhere" if is_link else "special files"] += 1
        else:
            yield name, os.stat(real).st_size, real


def _wanted(name: str, left_out: Counter[str]) -> bool:
    ending = os.path.splitext(name)[1].lower()
    if HIDDEN.search(name):
        left_out["hidden files and thumbnails"] += ending in IMG_EXTENSIONS
        return False
    if name.endswith("/") or ending in IMG_EXTENSIONS:
        return True
    left_out[ending or "files without an ending"] += 1
    return False
