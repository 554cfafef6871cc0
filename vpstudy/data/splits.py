"""Split of a fetched target into pool and test set, made once and stored in git."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from vpstudy import atomic, paths
from vpstudy.data.origin import Origin
from vpstudy.data.originals import Originals

HOW = ("test_share", "seed", "test_pictures", "train_per_class")  # fields of Origin that determine the split


@dataclass(frozen=True)
class Partition:
    """Sorted int64 positions of the pool (training and validation) and the test set."""

    pool: np.ndarray
    test: np.ndarray
    folders: list[str]  # class folders, indexed by label
    fingerprint: str  # of the originals

    @property
    def chosen(self) -> np.ndarray:
        """Sorted positions of all pictures of the target."""
        return np.union1d(self.pool, self.test)


def path_of(alias: str) -> Path:
    return paths.SPLITS / f"{alias}.json"


def shown(path: Path) -> str:
    """A path from the root of the project, if it lies there."""
    return path.relative_to(paths.ROOT).as_posix() if path.is_relative_to(paths.ROOT) else str(path)


def choose(originals: Originals, origin: Origin) -> Partition:
    """The set's own test set or a stratified share, limited by `origin`. Raises ValueError for too few pictures."""
    everything, labels, folders = np.arange(len(originals.names)), originals.labels, originals.folders
    if originals.in_test is None and origin.test_share == 1:
        pool, test = everything[:0], everything
    elif originals.in_test is None:
        few = [folders[k] for k in np.flatnonzero(np.bincount(labels) < 2)]
        if few:
            raise ValueError(f"classes with one picture cannot be split: {', '.join(few[:5])}; add or remove some")
        tests = max(len(folders), round(origin.test_share * len(labels)))
        pool, test = train_test_split(everything, test_size=tests, stratify=labels, random_state=origin.seed)
    else:
        pool, test = everything[~originals.in_test], everything[originals.in_test]
    if origin.test_pictures and origin.test_pictures < len(test):
        if origin.test_pictures < len(folders):
            raise ValueError(f"test_pictures: {origin.test_pictures}: {len(folders)} classes need at least as many")
        test = _share(test, labels, origin.test_pictures, origin.seed)
    if origin.train_per_class:
        draw = np.random.default_rng(origin.seed)
        members = [draw.permutation(pool[labels[pool] == k]) for k in range(len(folders))]
        pool = np.concatenate([each[: origin.train_per_class] for each in members])
    return Partition(np.sort(pool), np.sort(test), folders, originals.fingerprint)


def _share(test: np.ndarray, labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Stratified sample of `test` by largest remainders, with at least one picture per class."""
    counts = np.bincount(labels[test])
    wanted = counts * number / counts.sum()
    given = np.minimum(counts, np.maximum(1, np.floor(wanted).astype(int)))
    order = np.argsort(given - wanted, kind="stable")  # largest remainders first
    while given.sum() != number:
        step = 1 if given.sum() < number else -1
        can = [k for k in order[::step] if (given[k] < counts[k] if step == 1 else given[k] > 1)]
        given[can[: abs(number - given.sum())]] += step
    draw = np.random.default_rng(seed)
    chosen = [draw.permutation(test[labels[test] == k])[: given[k]] for k in range(len(counts))]
    return np.concatenate(chosen)


def content(originals: Originals, partition: Partition, origin: Origin, class_names: list[str]) -> dict[str, Any]:
    """Content of the split file: counts and a digest per class, and positions in the sorted names as ranges."""
    n = len(originals.folders)
    counts = [np.bincount(originals.labels[part], minlength=n) for part in (partition.pool, partition.test)]
    columns = (originals.folders, class_names, np.bincount(originals.labels), *counts, originals.class_digests)
    classes = [
        {"folder": folder, "name": name, "pictures": int(all_), "pool": int(pool), "test": int(test), "digest": digest}
        for folder, name, all_, pool, test, digest in zip(*columns, strict=True)
    ]
    return {
        "how": {key: getattr(origin, key) for key in HOW},
        "pictures": len(originals.names),
        "fingerprint": partition.fingerprint,
        "classes": classes,
        "pool": _ranges(partition.pool),
        "test": _ranges(partition.test),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the result of `content` with one class per line."""
    lines = [json.dumps(each, ensure_ascii=False) for each in content["classes"]]
    text = atomic.json_text(content | {"classes": []})
    atomic.write_text(path, text.replace('"classes": []', '"classes": [\n  ' + ",\n  ".join(lines) + "\n ]"))


def read(path: Path, origin: Origin, originals: Originals | None = None) -> Partition:
    """Read a split file. Raises ValueError if `origin` or `originals` do not match it."""
    before = _read(path)
    now = {key: getattr(origin, key) for key in HOW}
    problems = [f"{key} is {now[key]}, and was {was}" for key, was in before["how"].items() if now[key] != was]
    if originals:
        problems += _differences(originals, {each["folder"]: each for each in before["classes"]})
        if not problems and before["fingerprint"] != originals.fingerprint:
            problems = ["their order among training and test differs"]
        elif not problems and [each["folder"] for each in before["classes"]] != originals.folders:
            problems = ["their classes are in another order"]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"the pictures of {path.stem} are not those that {path.name} was made for: {'; '.join(problems[:5])}{more}."
            f" Restore the pictures or parameters of then; or delete {shown(path)}, and a new split is made"
        )
    folders = [each["folder"] for each in before["classes"]]
    return Partition(_positions(before["pool"]), _positions(before["test"]), folders, before["fingerprint"])


def sizes(path: Path) -> dict[str, tuple[int, int]]:
    """Pictures of each class in the pool and in the test set, from a split file."""
    return {each["name"]: (each["pool"], each["test"]) for each in _read(path)["classes"]}


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}; restore it from git, or delete it and a new split is made") from None


def _differences(originals: Originals, before: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"class {folder!r} is missing" for folder in before if folder not in originals.folders]
    counts = np.bincount(originals.labels)
    for folder, n, digest in zip(originals.folders, counts, originals.class_digests, strict=True):
        if folder not in before:
            lines.append(f"class {folder!r} is new")
        elif before[folder]["pictures"] != n:
            lines.append(f"class {folder!r} has {n} pictures, and had {before[folder]['pictures']}")
        elif before[folder]["digest"] != digest:
            lines.append(f"pictures of class {folder!r} have other names or sizes")
    return lines


def _ranges(positions: np.ndarray) -> str:
    """[0, 1, 2, 7] as "0-2 7"."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs if len(run))


def _positions(ranges: str) -> np.ndarray:
    runs = [[int(end) for end in run.split("-")] for run in ranges.split()]
    return np.concatenate([np.arange(0), *(np.arange(run[0], run[-1] + 1) for run in runs)])
