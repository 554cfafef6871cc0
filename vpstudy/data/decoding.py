"""Decoding of pictures in any mode to RGB of one size, cached per target and size for every process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms import functional

from vpstudy import atomic, paths
from vpstudy.data import splits
from vpstudy.data.originals import Originals
from vpstudy.progress import track

VERSION = 1  # raise it when the output of `decode` changes: fetched pictures are decoded again, their cells rerun
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # older versions of Pillow open 16-bit PNGs as "I"
ORIENTATION = 0x0112  # the tag of Exif
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
UPRIGHT = {value: Image.Transpose[turn] for value, turn in enumerate(TURNS, 2)}  # what undoes each orientation
SMALL = 16  # px; at this side, JPEGs are decoded at an eighth of their size


def decode(image: Image.Image, size: int) -> np.ndarray:
    """Apply EXIF rotation, resize the shorter side (bilinear, antialiased), centre crop: uint8 (3, size, size).

    Raises Pillow's errors for damaged pictures, ValueError for floats, whose range is unknown.
    """
    image.load()
    orientation = None
    with suppress(Exception):  # Exif that is malformed in any way; the pixels are there
        orientation = image.getexif().get(ORIENTATION)
    upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    resized = functional.resize(rgb(upright), size, functional.InterpolationMode.BILINEAR)
    return np.moveaxis(np.asarray(functional.center_crop(resized, size)), 2, 0)


def rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB: 16-bit grey keeps its range; transparency goes on black, like this project's borders."""
    if image.mode == "F":
        raise ValueError("its values are floats; store it with 8 or 16 bits")
    if image.mode in SIXTEEN_BITS:
        grey = np.asarray(image, dtype=np.int64)
        return Image.fromarray((grey.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "black"), above).convert("RGB")
    return image.convert("RGB")


def tensors(
    alias: str, key: str, originals: Callable[[], Originals], chosen: np.ndarray, size: int
) -> dict[str, Tensor]:
    """Pictures uint8 (N, 3, size, size) and labels int64 (N,) from the cache of target `alias`.

    If its `key` differs, one process decodes and others wait. Raises ValueError as `visit`.
    """
    path = paths.PICTURES / f"{alias}-{size}.safetensors"
    if not _has(path, key):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not _has(path, key):
                found = originals()
                pictures = np.empty((len(chosen), 3, size, size), np.uint8)

                def use(place: int, image: Image.Image) -> None:
                    pictures[place] = decode(image, size)

                visit(found, chosen, use, alias)
                made = {"pictures": torch.from_numpy(pictures), "labels": torch.from_numpy(found.labels[chosen])}
                with atomic.replacing(path) as temporary:
                    save_file(made, temporary, metadata={"key": key})
    return load_file(path)


def _has(path: Path, key: str) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("key") == key
    except (FileNotFoundError, SafetensorError):
        return False


def look(originals: Originals, chosen: np.ndarray, alias: str) -> None:
    """Decode pictures as cheaply as shows whether they can be. Raises ValueError as `visit`."""

    def use(_: int, image: Image.Image) -> None:
        image.draft("RGB", (SMALL, SMALL))
        decode(image, SMALL)

    visit(originals, chosen, use, alias)


def visit(originals: Originals, chosen: np.ndarray, use: Callable[[int, Image.Image], None], alias: str) -> None:
    """Call `use` with each place in `chosen` and its picture. Raises ValueError naming all that cannot be read."""

    def one(place: int) -> str | None:
        position = int(chosen[place])
        try:
            with originals.open(position) as image:
                use(place, image)
        except Exception as error:  # libraries raise many kinds for damaged files
            return f"{originals.names[position]} ({error or type(error).__name__})"
        return None

    with ThreadPoolExecutor() as pool:
        bad = [said for said in track(pool.map(one, range(len(chosen))), f"decoding {alias}", len(chosen)) if said]
    if bad:
        raise ValueError(
            f"target {alias}: damaged, or no pictures: {'; '.join(bad)}. Replace them; or remove them, and delete"
            f" {splits.shown(splits.path_of(alias))} if it is there"
        )
