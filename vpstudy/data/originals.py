"""Undecoded pictures of a fetched target."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Originals:
    """All pictures of a target, sorted by name for the same order on every machine."""

    names: list[str]  # relative paths, or part and number if there are no files
    sizes: list[int]  # bytes; 0 without a file
    labels: np.ndarray  # int64 (N,)
    folders: list[str]  # class folders, indexed by label
    in_test: np.ndarray | None  # bool (N,); None without a test set
    open: Callable[[int], Image.Image]  # picture by position
    left_out: dict[str, int] = field(default_factory=dict)  # number of files by what they are: ".gif"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, classes, parts and sizes."""
        parts = np.zeros(len(self.names), bool) if self.in_test is None else self.in_test
        rows = zip(self.names, self.labels, parts, self.sizes, strict=True)
        return _sha256(f"{name}\t{self.folders[k]}\t{int(t)}\t{size}\n" for name, k, t, size in rows)

    @property
    def class_digests(self) -> list[str]:
        """Digest of names and sizes per class."""
        lines: list[list[str]] = [[] for _ in self.folders]
        for name, label, size in zip(self.names, self.labels, self.sizes, strict=True):
            lines[label].append(f"{name}\t{size}\n")
        return [_sha256(each)[:12] for each in lines]


def _sha256(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()
