"""Checkpoints that timm and torchvision name themselves, pinned by the digits of the SHA-256 in the file's name."""

import hashlib
import urllib.error
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save
from torch.hub import HASH_REGEX, download_url_to_file

from vpstudy import atomic
from vpstudy.models.weights import PUBLISHED, OutsideWeights


def url(entry: OutsideWeights) -> str:
    """Where the library says that the file lies.

    Raises ValueError where it names none, or one whose name has no digits of a checksum: nothing would pin it.
    """
    tag = (entry.location or "").partition("/")[2]
    if entry.library == "torchvision":
        known = torchvision.models.get_model_weights(entry.name).__members__
        if tag not in known:
            raise ValueError(f"location: {entry.location}: give {PUBLISHED}/TAG; of {entry.model}: {', '.join(known)}")
        found = known[tag].url
    else:
        config = timm.get_pretrained_cfg(entry.name, allow_unregistered=True)
        found = (config and config.url) or ""
    if not HASH_REGEX.search(found.rpartition("/")[2]):
        raise ValueError(f"location: {entry.location}: of {entry.model} no file with a checksum is published; give one")
    return found


def fetch(entry: OutsideWeights, folder: Path) -> Path:
    """The file of `url`, its checksum as its name says, as safetensors in `folder`; nothing in it is run.

    Raises
    ------
    ValueError
        As `url`, or if the checksum is another one.
    FileNotFoundError
        If it could not be downloaded; the message says what to do by hand.
    """
    address = url(entry)
    given = folder / address.rpartition("/")[2]
    kept = given.with_suffix(".safetensors")
    if kept.exists():
        return kept
    if not given.exists():
        given.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(address, str(given), progress=False)
        except urllib.error.URLError as error:
            raise FileNotFoundError(
                f"{address} could not be downloaded ({error}); get it by hand and put it into {folder}"
            ) from None
    with given.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256.startswith(HASH_REGEX.search(given.name)[1]):
        raise ValueError(f"{given}: its SHA-256 is {sha256}, which does not begin as its name says; remove the file")
    tensors = torch.load(given, map_location="cpu", weights_only=True)
    tensors = tensors.get("model", tensors)  # as DeiT's are
    atomic.write_bytes(kept, save({key: value.contiguous() for key, value in tensors.items()}))
    return kept
