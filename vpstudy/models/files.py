"""Checkpoint files from outside: local, from a URL, from the hub or published by a library. All are pinned."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlparse

import timm
import torch
import torchvision
from huggingface_hub import hf_hub_download
from safetensors.torch import save
from torch.hub import HASH_REGEX, download_url_to_file

from vpstudy import atomic
from vpstudy.models.libraries import hub_name
from vpstudy.models.weights import HUB, PUBLISHED, OutsideWeights

HUB_FILE = ("model.safetensors", "open_clip_model.safetensors")  # timm's, open_clip's


def fetch(location: str, sha256: str | None, folder: Path) -> Path:
    """Local path of the file at `location`: a path, or an https URL, which is downloaded to `folder` once.

    Raises ValueError unless it is a safetensors file (other formats can run code when read), if a URL is not https or
    has no checksum, or if the checksum differs; FileNotFoundError if the file is missing or cannot be downloaded.
    """
    url = urlparse(location)
    if not url.path.endswith(".safetensors"):
        raise ValueError(f"{location}: only .safetensors files are read; other formats can run code when they are read")
    if url.scheme == "http":
        raise ValueError(f"{location}: give an https URL")
    if url.scheme == "https":
        if sha256 is None:
            raise ValueError(f"{location}: a URL needs its sha256 beside it, or nobody knows what was measured")
        return _downloaded(location, sha256, folder / f"{sha256[:12]}-{Path(url.path).name}")
    path = Path(location).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{location}: there is no such file")
    return _checked(path, sha256 or "")


def fetch_weights(entry: OutsideWeights, folder: Path, root: Path) -> Path:
    """Local path of the checkpoint of a `weights` entry; relative paths start at `root`. Raises as `fetch`."""
    if entry.published:
        return _fetch_published(published_url(entry), folder)
    if entry.on_hub:
        location = entry.location or f"{HUB}{hub_name(entry)}"
        organisation, repository, *file = location.removeprefix(HUB).split("/", 2)
        name, file = f"{organisation}/{repository}", (file or [HUB_FILE[entry.is_clip]])[0]
        try:
            path = hf_hub_download(name, file, revision=entry.revision, cache_dir=folder / "hub")
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{location}: {file} of {name} at {entry.revision} could not be downloaded ({error}); "
                "get it by hand and give its path as the location, with its sha256"
            ) from None
        return fetch(path, entry.sha256, folder)
    location = os.path.expandvars(entry.location)
    if unset := re.search(r"\$\{?\w+\}?", location):
        raise FileNotFoundError(
            f"{entry.location}: there is no environment variable {unset[0]}; set it, so that this is the path of a file"
        )
    is_url = location.startswith(("https:", "http:"))
    return fetch(location if is_url else str(root / Path(location).expanduser()), entry.sha256, folder)


def published_url(entry: OutsideWeights) -> str:
    """URL that the library publishes, pinned by digits of the SHA-256 in the name. Raises ValueError if none is."""
    tag = (entry.location or "").partition("/")[2]
    if entry.library == "torchvision":
        known = torchvision.models.get_model_weights(entry.name).__members__
        if tag not in known:
            raise ValueError(f"location: {entry.location}: give {PUBLISHED}/TAG; of {entry.model}: {', '.join(known)}")
        url = known[tag].url
    else:
        config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
        url = (config and config.url) or ""
    if not HASH_REGEX.search(url.rpartition("/")[2]):
        raise ValueError(f"location: {entry.location}: of {entry.model} no file with a checksum is published; give one")
    return url


def _fetch_published(url: str, folder: Path) -> Path:
    """Download the file to `folder` and convert it to safetensors; no code in it is run."""
    name = url.rpartition("/")[2]
    kept = (folder / name).with_suffix(".safetensors")
    if not kept.exists():
        given = _downloaded(url, HASH_REGEX.search(name)[1], folder / name)
        tensors = torch.load(given, map_location="cpu", weights_only=True)
        tensors = tensors.get("model", tensors)  # DeiT nests its tensors
        atomic.write_bytes(kept, save({key: value.contiguous() for key, value in tensors.items()}))
    return kept


def _downloaded(url: str, digits: str, path: Path) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise FileNotFoundError(
                f"{url} could not be downloaded ({error}); get it by hand and save it as {path}"
            ) from None
        try:
            return _checked(path, digits)
        except ValueError:
            path.unlink()  # cut off, or another file: the next try downloads it again
            raise
    return _checked(path, digits)


def _checked(path: Path, digits: str) -> Path:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256.startswith(digits):
        raise ValueError(f"{path}: its SHA-256 is {sha256}, expected {digits}; remove the file or correct the checksum")
    return path
