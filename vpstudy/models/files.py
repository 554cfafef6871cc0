"""Checkpoint files from outside: local, of a package, from a URL, the hub or a library. All are pinned."""

import contextlib
import hashlib
import json
import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
import torchvision
from huggingface_hub import hf_hub_download
from safetensors.torch import save
from torch.hub import HASH_REGEX, download_url_to_file

from vpstudy import atomic
from vpstudy.models import checkpoints, torchvision_models
from vpstudy.models.libraries import hub_name
from vpstudy.models.weights import HUB, Encoder, OutsideWeights

HUB_FILE = ("model.safetensors", "open_clip_model.safetensors")  # timm's, open_clip's
CONFIGS = ("config.json", "open_clip_config.json")


def fetch(location: str, sha256: str | None, folder: Path) -> Path:
    """Local path of the file at `location`: a path, or an https URL, which is downloaded to `folder` once.

    Raises ValueError unless it is a safetensors file (other formats can run code when read), if a URL is not https or
    has no checksum, or if that of a file differs; FileNotFoundError if there is no file, or not this one at the URL.
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
    if entry.package:
        return _fetch_packaged(entry, folder)
    if entry.on_hub:
        location = entry.location or f"{HUB}{hub_name(entry)}"
        organisation, repository, *file = location.removeprefix(HUB).split("/", 2)
        name, file = f"{organisation}/{repository}", (file or [HUB_FILE[entry.is_clip]])[0]
        cached = {"revision": entry.revision, "cache_dir": folder / "hub"}
        try:
            path = hf_hub_download(name, file, **cached)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{location}: {file} of {name} at {entry.revision} could not be downloaded ({error}); "
                "get it by hand and give its path as the location, with its sha256"
            ) from None
        with contextlib.suppress(OSError, ValueError):  # for `stated`
            hf_hub_download(name, CONFIGS[entry.is_clip], **cached)
        return fetch(path, entry.sha256, folder)
    location = os.path.expandvars(entry.location)
    if unset := re.search(r"\$\{?\w+\}?", location):
        raise FileNotFoundError(
            f"{entry.location}: there is no environment variable {unset[0]}; set it, so that this is the path of a file"
        )
    is_url = location.startswith(("https:", "http:"))
    return fetch(location if is_url else str(root / Path(location).expanduser()), entry.sha256, folder)


def check(entry: OutsideWeights, folder: Path, root: Path) -> None:
    """Raise as `fetch_weights` for what can be known without a download."""
    if entry.published:
        published_url(entry)
    elif not entry.on_hub and not os.path.expandvars(entry.location).startswith(("https:", "http:")):
        fetch_weights(entry, folder, root)


def stated(checkpoint: Path) -> dict[str, Any]:
    """Mean, std and activation in the configuration beside a checkpoint, as on the hub; empty without one."""
    for path in (checkpoint.parent / name for name in CONFIGS):
        if path.exists():
            config = json.loads(path.read_text(encoding="utf-8"))
            seen = config.get("preprocess_cfg") or config.get("pretrained_cfg") or {}
            found = {key: tuple(seen[key]) for key in ("mean", "std") if key in seen}
            if "model_cfg" in config:
                found["arguments.quick_gelu"] = config["model_cfg"].get("quick_gelu", False)
            return found
    return {}


def published_url(entry: OutsideWeights) -> str:
    """URL that the library publishes, pinned by digits of the SHA-256 in the name. Raises ValueError if none is."""
    if entry.library == "torchvision":
        torchvision_models.published(entry.name, entry.tag)  # raises for unknown ones
        url = torchvision.models.get_model_weights(entry.name)[entry.tag].url
    else:
        config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
        url = (config and config.url) or ""
    if not HASH_REGEX.search(url.rpartition("/")[2]):
        raise ValueError(f"location: {entry.location}: of {entry.model} no file with a checksum is published; give one")
    return url


def packaged(entry: Any) -> Path:
    """Path of the file of an installed package, by `entry.package`. Raises FileNotFoundError if it is missing."""
    package, inside = entry.package
    try:
        path = Path(metadata.distribution(package).locate_file(inside))
    except metadata.PackageNotFoundError:
        raise FileNotFoundError(f"{entry.location}: the package is not installed; `pip install {package}`") from None
    if not path.is_file():
        raise FileNotFoundError(f"{entry.location}: {package} has no file {inside}")
    return path


def encoder(entry: Encoder, folder: Path, root: Path) -> Path:
    """File of a sentence encoder. Raises FileNotFoundError if it is missing, ValueError if it is another one."""
    inside = packaged(entry) if entry.package else root / os.path.expandvars(entry.location)
    return fetch(str(inside), entry.sha256, folder)


def _fetch_published(url: str, folder: Path) -> Path:
    name = url.rpartition("/")[2]
    kept = (folder / name).with_suffix(".safetensors")
    return kept if kept.exists() else _converted(_downloaded(url, HASH_REGEX.search(name)[1], folder / name), kept)


def _fetch_packaged(entry: OutsideWeights, folder: Path) -> Path:
    path = _checked(packaged(entry), entry.sha256)
    if path.suffix == ".safetensors":
        return path
    return _converted(path, folder / f"{entry.sha256[:12]}-{path.stem}.safetensors")


def _converted(given: Path, kept: Path) -> Path:
    """Convert a file of torch to safetensors; no code in it is run."""
    try:
        content = torch.load(given, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds
        held = ""
        with contextlib.suppress(Exception):
            held = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(given))
        if not held:
            raise ValueError(
                f"{given} is damaged, or no dictionary of tensors alone; get it again, or convert it to safetensors"
            ) from None
        raise ValueError(f"{given.name} holds more than tensors: {held}, and code in it is not run") from None
    atomic.write_bytes(kept, save(checkpoints.unnested(content, given.name)))
    return kept


def _downloaded(url: str, digits: str, path: Path) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(path), digits, progress=False)  # whole and with these digits, or not at all
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"{url} could not be downloaded ({error}); get it by hand and save it as {path}"
            ) from None
    return _checked(path, digits)


def _checked(path: Path, digits: str) -> Path:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256.startswith(digits):
        raise ValueError(f"{path}: its SHA-256 is {sha256}, expected {digits}; remove the file or correct the checksum")
    return path
