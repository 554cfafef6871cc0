"""Decoded and resized pictures on disk: made once for a target and size, then mapped into memory by every process."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import zc.lockfile
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.parallel import cores
from vpstudy import atomic
from vpstudy.data.decoding import decode
from vpstudy.data.raw import Found
from vpstudy.progress import track

PAUSE = 0.2  # seconds between looks at a lock that another process holds


def load(path: Path, key: str) -> dict[str, Tensor] | None:
    """What `make` wrote to `path` under the same `key`, mapped into memory; None where that is not there."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None


def make(path: Path, key: str, found: Found, chosen: np.ndarray, size: int) -> dict[str, Tensor]:
    """Decode the `chosen` pictures: uint8 (N, 3, size, size), and their labels (N,), as `load` gives them from now on.

    A second process waits for the first one, and then reads its file. Raises ValueError for a damaged picture, naming
    it, and where the disk has no room.
    """
    with _alone(path):
        if made := load(path, key):
            return made
        _room(path.parent, len(chosen) * 3 * size**2)
        pictures = torch.from_numpy(_decoded(found, chosen, size, path.stem))
        tensors = {"pictures": pictures, "labels": torch.from_numpy(found.labels[chosen])}
        with atomic.replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"key": key})
    return load_file(path)


def _decoded(found: Found, chosen: np.ndarray, size: int, what: str) -> np.ndarray:
    result = np.empty((len(chosen), 3, size, size), np.uint8)

    def one(place: int) -> None:
        position = int(chosen[place])
        try:
            with found.open(position) as image:
                result[place] = decode(image, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{found.names[position]}: damaged, or no picture ({error}); replace it, or remove it and delete the"
                " split file of its target"
            ) from None

    with ThreadPoolExecutor(cores()) as pool:
        for _ in track(pool.map(one, range(len(chosen))), f"decoding {what}", len(chosen)):
            pass
    return result


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock beside `path`, which a process that dies lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            lock = zc.lockfile.LockFile(str(path.with_name(f".{path.name}.lock")))
            break
        except zc.lockfile.LockError:
            time.sleep(PAUSE)
    try:
        yield
    finally:
        lock.close()


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for decoded pictures, {free / 1e9:.1f} GB are free; make room,"
            " or give test_pictures and train_per_class in `pictures`"
        )
