"""Cache of decoded pictures per target and size, memory-mapped by every process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vpstudy import atomic
from vpstudy.data.decoding import decode
from vpstudy.data.originals import Originals
from vpstudy.progress import track


def tensors(
    path: Path, key: str, originals: Callable[[], Originals], chosen: np.ndarray, size: int
) -> dict[str, Tensor]:
    """Pictures uint8 (N, 3, size, size) and labels int64 (N,) from `path`.

    If its `key` differs, one process decodes and others wait. Raises ValueError naming a damaged picture.
    """
    if not _written(path, key):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not _written(path, key):
                found = originals()
                pictures = torch.from_numpy(_decoded(found, chosen, size, path.stem))
                made = {"pictures": pictures, "labels": torch.from_numpy(found.labels[chosen])}
                with atomic.replacing(path) as temporary:
                    save_file(made, temporary, metadata={"key": key})
    return load_file(path)


def _written(path: Path, key: str) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("key") == key
    except (FileNotFoundError, SafetensorError):
        return False


def _decoded(originals: Originals, chosen: np.ndarray, size: int, label: str) -> np.ndarray:
    result = np.empty((len(chosen), 3, size, size), np.uint8)

    def one(place: int) -> None:
        position = int(chosen[place])
        try:
            with originals.open(position) as image:
                result[place] = decode(image, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{originals.names[position]}: damaged, or no picture ({error}); replace it, or remove it and delete"
                " the split file of its target"
            ) from None

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(one, range(len(chosen))), f"decoding {label}", len(chosen)):
            pass
    return result
