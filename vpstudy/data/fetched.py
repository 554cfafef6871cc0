"""Fetched targets: known data sets or user pictures, split once and decoded once."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpstudy import paths
from vpstudy.data import decoded, decoding, imagefolder, splits, torchvision_sets
from vpstudy.data.origin import Origin
from vpstudy.data.originals import Originals
from vpstudy.data.registry import KNOWN
from vpstudy.data.target import Target


@dataclass(frozen=True)
class Prepared:
    """A target with a split. `originals` lists its pictures, which takes minutes for a large folder."""

    alias: str
    class_names: list[str]
    partition: splits.Partition
    originals: Callable[[], Originals]

    def target(self, size: int) -> Target:
        """The target at `size` pixels. Lists the originals only if this size is not decoded yet."""
        chosen = self.partition.chosen
        contents = f"{self.partition.fingerprint}\n{chosen.tolist()}\n{decoding.VERSION}"
        path, key = paths.PICTURES / f"{self.alias}-{size}.safetensors", hashlib.sha256(contents.encode()).hexdigest()
        known = KNOWN.get(self.alias)
        return Target(
            name=self.alias,
            class_names=self.class_names,
            **decoded.tensors(path, key, self.originals, chosen, size),
            test=np.searchsorted(chosen, self.partition.test),
            credit=known.credit if known else "a reader's own",
        )


def prepare(alias: str, origin: Origin) -> Prepared:
    """Download or verify the pictures; read their split or make one. Raises ValueError if that fails."""
    originals, path = find(alias, origin, download=True), split_file(alias)
    partition = splits.read(path, origin, originals) if path.exists() else splits.choose(originals, origin)
    return Prepared(alias, class_names(alias, origin, originals.folders), partition, lambda: originals)


def load(alias: str, size: int, origin: Origin) -> Target:
    """The target at `size` pixels. Raises ValueError if stage `pictures` has not run for these inputs."""
    path = split_file(alias)
    if not path.exists():
        raise ValueError(
            f"target {alias}: there is no data/splits/{path.name} yet; put {alias} into fetched in params.yaml and run"
            " `vpstudy repro pictures`"
        )

    def originals() -> Originals:
        found = find(alias, origin)
        splits.read(path, origin, found)
        return found

    partition = splits.read(path, origin)
    return Prepared(alias, class_names(alias, origin, partition.folders), partition, originals).target(size)


def split_file(alias: str) -> Path:
    return paths.SPLITS / f"{alias}.json"


def find(alias: str, origin: Origin, download: bool = False) -> Originals:
    """List the pictures; `download` fetches torchvision sets and verifies zips. Raises ValueError if missing."""
    if origin.torchvision:
        return torchvision_sets.find(origin.torchvision, paths.RAW, download)
    if problem := origin.missing(alias):
        raise ValueError(f"target {alias}: {problem}")
    if origin.sha256 and download:
        with origin.location.open("rb") as file:
            given = hashlib.file_digest(file, "sha256").hexdigest()
        if given != origin.sha256:
            raise ValueError(
                f"{origin.location.name}: its SHA-256 is {given}, expected {origin.sha256}; get the file again"
            )
    return imagefolder.find(origin.location)


def class_names(alias: str, origin: Origin, folders: list[str]) -> list[str]:
    """Class names from `origin`, the registry, WordNet or the folders, in this order of preference.

    Raises ValueError if the names in `origin` are not unique or not one per class.
    """
    given = origin.class_names
    if isinstance(given, str):
        given = (paths.ROOT / given).read_text(encoding="utf-8").splitlines()
    if given:
        if len(given) != len(folders) or len(set(given)) != len(given):
            raise ValueError(
                f"pictures.{alias}.class_names: {len(set(given))} different names for {len(folders)} classes"
                f" ({', '.join(folders[:3])}, …); give one for each, in the order of the folders"
            )
        return list(given)
    known = list(KNOWN[alias].class_names) if alias in KNOWN else []
    numbered = all(map(str.isdecimal, folders)) and list(map(int, folders)) == list(range(len(known)))
    return known if numbered else _wordnet(folders) or folders


def _wordnet(folders: list[str]) -> list[str] | None:
    """ImageNet class names if the folders are WordNet ids or the numbers 0 to 999."""
    if len(folders) != 1000 and not all(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        return None
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    ids = ImageNetInfo("imagenet-1k").label_names()
    names = dict(zip(ids, ResNet50_Weights.DEFAULT.meta["categories"], strict=True))  # both sorted by id
    if folders == [str(k) for k in range(len(ids))]:
        folders = ids
    return [names[folder] for folder in folders] if set(folders) <= names.keys() else None
