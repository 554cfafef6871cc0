"""Targets that are not embedded: pictures of a data set or of a reader's own, in one split, decoded once."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from pipeline import code
from vpstudy import paths
from vpstudy.data import decoded, imagefolder, splits, torchvision_sets
from vpstudy.data.raw import Found
from vpstudy.data.settings import Pictures, advice, source_of
from vpstudy.data.sources import SOURCES
from vpstudy.data.targets import Target

DECODING = "vpstudy/data/decoding.py"


@dataclass(frozen=True)
class Prepared:
    """A target whose pictures are there and fit their split."""

    alias: str
    source: Pictures
    found: Found
    class_names: list[str]
    split: splits.Split

    def target(self, size: int) -> Target:
        """With every picture decoded at `size`, or read from disk, where that was done before."""
        chosen = self.split.chosen
        path, key = _place(self.alias, size), _key(splits.fingerprint(self.found), self.split)
        tensors = decoded.load(path, key) or decoded.make(path, key, self.found, chosen, size)
        return _target(self.alias, self.class_names, self.split, tensors)


def _place(alias: str, size: int) -> Path:
    return paths.PICTURES / f"{alias}-{size}.safetensors"


def _key(fingerprint: str, split: splits.Split) -> str:
    """Of what decoded pictures follow from: the originals, which of them, and the code that decodes."""
    how = code.of_modules([DECODING], paths.ROOT)[DECODING]
    return hashlib.sha256(f"{fingerprint}\n{split.chosen.tolist()}\n{how}".encode()).hexdigest()


def _target(alias: str, names: list[str], split: splits.Split, tensors: dict[str, Tensor]) -> Target:
    known = SOURCES.get(alias)
    return Target(
        name=alias,
        class_names=names,
        pictures=tensors["pictures"],
        labels=tensors["labels"],
        test=np.searchsorted(split.chosen, split.test),
        description=known.title if known else f"pictures of {alias}",
        origin=known.origin if known else "a reader's own",
    )


def find(alias: str, source: Pictures, download: bool = False) -> Found:
    """The pictures of a target. With `download`, torchvision fetches what lacks, and a zip's checksum is verified.

    Raises ValueError where they are not there, and how to get them.
    """
    if source.torchvision:
        return torchvision_sets.find(source.torchvision, paths.RAW, download)
    if problem := source.problem():
        raise ValueError(f"target {alias}: {problem}; {advice(alias, source)}")
    if source.sha256 and download:
        _verify(source.location, source.sha256)
    return imagefolder.find(source.location)


def load(alias: str, size: int) -> Target:
    """The target at `size`, in the split that its stage wrote.

    Originals are looked at only where they are not decoded yet at this size: a large folder takes minutes to list.
    Raises ValueError where the stage has not run, or was run with other parameters or pictures.
    """
    source, path = source_of(alias), paths.SPLITS / f"{alias}.json"
    if not path.exists():
        raise ValueError(
            f"target {alias}: there is no data/splits/{path.name} yet; put {alias} into fetched in params.yaml and run"
            " `vpstudy repro pictures`"
        )
    stored = splits.stored(path, source)
    if tensors := decoded.load(_place(alias, size), _key(stored.fingerprint, stored.split)):
        return _target(alias, class_names(alias, source, stored.folders), stored.split, tensors)
    found = find(alias, source)
    split = splits.read(path, found, source)
    return Prepared(alias, source, found, class_names(alias, source, found.folders), split).target(size)


def class_names(alias: str, source: Pictures, folders: list[str]) -> list[str]:
    """What the classes are called: as `pictures` says, or the registry, or WordNet, or as their folders are.

    Raises ValueError for names that are not as many as the classes, or stand twice.
    """
    given = source.class_names
    if isinstance(given, str):
        given = (paths.ROOT / given).read_text(encoding="utf-8").splitlines()
    if given:
        if len(given) != len(folders) or len(set(given)) != len(given):
            raise ValueError(
                f"pictures.{alias}.class_names: {len(set(given))} different names for {len(folders)} classes"
                f" ({', '.join(folders[:3])}, …); give one for each, in the order of the folders"
            )
        return list(given)
    known = SOURCES.get(alias)
    numbers = all(folder.isdecimal() for folder in folders) and [int(folder) for folder in folders]
    if known and known.class_names and numbers == list(range(len(known.class_names))):
        return list(known.class_names)
    return _wordnet(folders) or folders


def _wordnet(folders: list[str]) -> list[str] | None:
    """Names of ImageNet's classes, where all folders are called by their ids, or by their numbers 0 to 999."""
    if len(folders) != 1000 and not all(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        return None
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    ids = ImageNetInfo("imagenet-1k").label_names()
    names = dict(zip(ids, ResNet50_Weights.DEFAULT.meta["categories"], strict=True))  # both in the order of the ids
    if folders == [str(k) for k in range(len(ids))]:
        folders = ids
    return [names[folder] for folder in folders] if set(folders) <= names.keys() else None


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != sha256:
        raise ValueError(f"{path.name}: its SHA-256 is {got}, expected {sha256}; get the file again")
