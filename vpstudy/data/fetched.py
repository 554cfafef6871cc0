"""Fetched targets: known data sets or user pictures, split once and decoded once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpstudy import paths
from vpstudy.data import class_names, decoding, imagefolder, splits, torchvision_sets
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

    @property
    def key(self) -> str:
        """Identity of the decoded pictures."""
        contents = f"{self.partition.fingerprint}\n{self.partition.chosen.tolist()}\n{decoding.VERSION}"
        return hashlib.sha256(contents.encode()).hexdigest()

    def target(self, size: int) -> Target:
        """The target at `size` pixels. Lists the originals only if this size is not decoded yet."""
        chosen, known = self.partition.chosen, KNOWN.get(self.alias)
        return Target(
            name=self.alias,
            class_names=self.class_names,
            **decoding.tensors(self.alias, self.key, self.originals, chosen, size),
            test=np.searchsorted(chosen, self.partition.test),
            credit=known.credit if known else "a reader's own",
        )


def prepare(alias: str, origin: Origin) -> Prepared:
    """Download or verify the pictures; read their split or make one. Raises ValueError if that fails."""
    return split_up(alias, origin, find(alias, origin, download=True))


def split_up(alias: str, origin: Origin, originals: Originals) -> Prepared:
    """Read the split of the pictures, or make one. Raises ValueError if they do not fit it."""
    path = splits.path_of(alias)
    partition = splits.read(path, origin, originals) if path.exists() else splits.choose(originals, origin)
    return Prepared(alias, class_names.of_folders(alias, origin, originals.folders), partition, lambda: originals)


def load(alias: str, size: int, origin: Origin) -> Target:
    """The target at `size` pixels. Raises ValueError if stage `pictures` has not run for these inputs."""
    path = splits.path_of(alias)
    if not path.exists():
        raise ValueError(
            f"target {alias}: there is no {splits.shown(path)} yet; put {alias} into fetched in params.yaml and run"
            " `vpstudy repro pictures`"
        )

    def originals() -> Originals:
        found = find(alias, origin)
        splits.read(path, origin, found)
        return found

    partition = splits.read(path, origin)
    return Prepared(alias, class_names.of_folders(alias, origin, partition.folders), partition, originals).target(size)


def find(alias: str, origin: Origin, download: bool = False) -> Originals:
    """List the pictures; `download` fetches torchvision sets and verifies zips. Raises ValueError if missing."""
    if origin.torchvision:
        return torchvision_sets.find(origin.torchvision, paths.RAW, download)
    if problem := origin.missing(alias):
        raise ValueError(f"target {alias}: {problem}")
    if download:
        verify(origin)
    return imagefolder.find(origin.location)


def verify(origin: Origin) -> None:
    """Raise ValueError if a zip has another checksum than `origin` tells."""
    if origin.sha256:
        with origin.location.open("rb") as file:
            given = hashlib.file_digest(file, "sha256").hexdigest()
        if given != origin.sha256:
            raise ValueError(
                f"{origin.location.name}: its SHA-256 is {given}, expected {origin.sha256}; get the file again"
            )
