"""The split of a fetched target, in a file in git: made once, and what pictures must fit ever after."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from vpstudy import atomic
from vpstudy.data.raw import Found
from vpstudy.data.settings import Pictures

HOW = ("test_share", "seed", "test_pictures", "train_per_class")


@dataclass(frozen=True)
class Split:
    """Sorted positions (int64) of the pictures that training and validation draw from, and of the test set."""

    pool: np.ndarray
    test: np.ndarray

    @property
    def chosen(self) -> np.ndarray:
        """Those of both, sorted: the pictures that the target consists of."""
        return np.union1d(self.pool, self.test)


@dataclass(frozen=True)
class Stored:
    """What a split file tells without a look at the pictures."""

    split: Split
    folders: list[str]
    fingerprint: str


def choose(found: Found, source: Pictures) -> Split:
    """The split that the source asks for: its own test set, or a stratified share; each cut down where it says so.

    Raises ValueError for a class with too few pictures to be in both parts, and for a test set below one per class.
    """
    everything, labels = np.arange(len(found.names)), found.labels
    if found.in_test is None:
        few = [found.folders[k] for k in np.flatnonzero(np.bincount(labels) < 2)]
        if few:
            raise ValueError(f"classes with one picture cannot be split: {', '.join(few[:5])}; add or remove some")
        tests = max(len(found.folders), round(source.test_share * len(labels)))
        pool, test = train_test_split(everything, test_size=tests, stratify=labels, random_state=source.seed)
    else:
        pool, test = everything[~found.in_test], everything[found.in_test]
    if source.test_pictures and source.test_pictures < len(test):
        if source.test_pictures < len(found.folders):
            raise ValueError(
                f"test_pictures: {source.test_pictures}: {len(found.folders)} classes need at least as many pictures"
            )
        test = _share(test, labels, source.test_pictures, source.seed)
    if source.train_per_class:
        draw = np.random.default_rng(source.seed)
        members = [draw.permutation(pool[labels[pool] == k]) for k in range(len(found.folders))]
        pool = np.concatenate([each[: source.train_per_class] for each in members])
    return Split(np.sort(pool), np.sort(test))


def _share(test: np.ndarray, labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """`number` of `test`: of each class its share, the largest remainders rounded up, and at least one."""
    counts = np.bincount(labels[test])
    wanted = counts * number / counts.sum()
    given = np.minimum(counts, np.maximum(1, np.floor(wanted).astype(int)))
    order = np.argsort(given - wanted, kind="stable")  # those with the largest remainder first
    while given.sum() != number:
        step = 1 if given.sum() < number else -1
        can = [k for k in order[::step] if (given[k] < counts[k] if step == 1 else given[k] > 1)]
        given[can[: abs(number - given.sum())]] += step
    draw = np.random.default_rng(seed)
    chosen = [draw.permutation(test[labels[test] == k])[: given[k]] for k in range(len(counts))]
    return np.concatenate(chosen)


def record(found: Found, split: Split, source: Pictures, class_names: list[str]) -> dict[str, Any]:
    """What the file holds: counts and a digest of each class, and positions among the sorted names as ranges."""
    pool, test = (np.bincount(found.labels[part], minlength=len(found.folders)) for part in (split.pool, split.test))
    digests = _digests(found)
    classes = [
        {"folder": folder, "name": name, "pictures": int(n), "pool": int(p), "test": int(t), "digest": digest}
        for folder, name, n, p, t, digest in zip(
            found.folders, class_names, np.bincount(found.labels), pool, test, digests, strict=True
        )
    ]
    return {
        "how": {key: getattr(source, key) for key in HOW},
        "pictures": len(found.names),
        "fingerprint": fingerprint(found),
        "classes": classes,
        "pool": _ranges(split.pool),
        "test": _ranges(split.test),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write what `record` gave, a class a line."""
    lines = [json.dumps(each, ensure_ascii=False) for each in content["classes"]]
    text = atomic.json_text(content | {"classes": []})
    atomic.write_text(path, text.replace('"classes": []', '"classes": [\n  ' + ",\n  ".join(lines) + "\n ]"))


def stored(path: Path, source: Pictures) -> Stored:
    """What the file at `path` holds. Raises ValueError where the source asks for another split."""
    content = json.loads(path.read_text(encoding="utf-8"))
    _refuse(path, _asked_otherwise(content, source))
    split = Split(_positions(content["pool"]), _positions(content["test"]))
    return Stored(split, [each["folder"] for each in content["classes"]], content["fingerprint"])


def read(path: Path, found: Found, source: Pictures) -> Split:
    """The split in the file at `path`, for pictures that are those that it was made for.

    Raises ValueError, saying what differs and what to do, where they are not, or where the source asks for another one.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    differences = _asked_otherwise(content, source)
    differences += _differences(found, {each["folder"]: each for each in content["classes"]})
    if not differences and content["fingerprint"] != fingerprint(found):
        differences = ["their order among training and test differs"]
    _refuse(path, differences)
    return Split(_positions(content["pool"]), _positions(content["test"]))


def _asked_otherwise(content: dict[str, Any], source: Pictures) -> list[str]:
    now = {key: getattr(source, key) for key in HOW}
    return [f"{key} is {now[key]}, and was {content['how'][key]}" for key in HOW if content["how"][key] != now[key]]


def _refuse(path: Path, differences: list[str]) -> None:
    if differences:
        raise ValueError(
            f"the pictures of {path.stem} are not those that {path.name} was made for: {_some(differences)}. Bring back"
            " the pictures or parameters of then, or delete the file, which makes a new split"
        )


def fingerprint(found: Found) -> str:
    """SHA-256 over names, classes, parts and bytes of all pictures."""
    parts = np.zeros(len(found.names), bool) if found.in_test is None else found.in_test
    rows = zip(found.names, found.labels, parts, found.sizes, strict=True)
    return _sha256(f"{name}\t{found.folders[k]}\t{int(t)}\t{size}\n" for name, k, t, size in rows)


def _digests(found: Found) -> list[str]:
    lines: list[list[str]] = [[] for _ in found.folders]
    for name, label, size in zip(found.names, found.labels, found.sizes, strict=True):
        lines[label].append(f"{name}\t{size}\n")
    return [_sha256(each)[:12] for each in lines]


def _differences(found: Found, before: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"class {folder!r} is missing" for folder in before if folder not in found.folders]
    for folder, n, digest in zip(found.folders, np.bincount(found.labels), _digests(found), strict=True):
        if folder not in before:
            lines.append(f"class {folder!r} is new")
        elif before[folder]["pictures"] != n:
            lines.append(f"class {folder!r} has {n} pictures, and had {before[folder]['pictures']}")
        elif before[folder]["digest"] != digest:
            lines.append(f"pictures of class {folder!r} have other names or sizes")
    return lines


def _sha256(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _ranges(positions: np.ndarray) -> str:
    """[0, 1, 2, 7] as "0-2 7"."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _positions(ranges: str) -> np.ndarray:
    runs = [[int(end) for end in run.split("-")] for run in ranges.split()]
    return np.concatenate([np.arange(run[0], run[-1] + 1) for run in runs])


def _some(lines: list[str]) -> str:
    return "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
