"""The one writer and the one reader of results: a small JSON file a cell, kept in git."""

import json
import math
import platform
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.cells import Cell
from vpstudy import atomic, paths
from vpstudy.models.architectures import read as read_backbone

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("cell", "environment", "facts", "rows")
STATUSES = ("ok", "diverged")
KEYS = ("method", "budget", "seed", "status", "reason")
PACKAGES = ("numpy", "pillow", "scikit-image", "scikit-learn", "timm", "torch", "torchvision")


@dataclass(frozen=True)
class Results:
    """What the reader found."""

    frame: "pd.DataFrame"  # a row for each row of each cell
    missing: list[Cell]  # asked for, but without a file
    orphans: list[Path]  # files of the same stages that belong to none of the cells

    def notes(self) -> list[str]:
        """One line for each missing cell and each orphan, for tables to print."""
        lines = [f"missing: {cell.name} has no result yet (`dvc repro {cell.name}`)" for cell in self.missing]
        return lines + [f"orphan: {path.name} belongs to no cell of params.yaml" for path in self.orphans]


def path(cell: Cell, folder: Path = paths.RESULTS) -> Path:
    """Where the result of `cell` lies: `<folder>/<scale>/<study>/<stage>-<slug>.json`."""
    return folder / cell.scale / cell.study / f"{cell.file}.json"


def prompt_path(cell: Cell, folder: Path = paths.RESULTS) -> Path:
    """Where the picture of the cell's learned prompt lies, beside its result: `<stage>-<slug>-prompt.png`."""
    return folder / cell.scale / cell.study / f"{cell.file}-prompt.png"


def environment(device: str, precision: str, threads: int) -> dict[str, str | int]:
    """What numbers may depend on: versions, device, precision, threads. Nothing names a machine or a time."""
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    return {
        "python": platform.python_version(),
        "vpstudy": project["version"],
        **{name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "precision": precision,
        "threads": threads,
    }


def write(destination: Path, record: dict[str, Any]) -> None:
    """Check `record` and write it, whole or not at all; the same record always gives the same bytes.

    Raises ValueError, naming every place, for what JSON cannot hold (NaN, infinities, arrays, keys that are
    not strings), for missing parts, and for rows that are neither `ok` with metrics nor `diverged` with a
    reason, or that stand twice.
    """
    problems = [*_not_json(record, "record")] or [*_not_a_record(record)]
    if problems:
        raise ValueError(f"{destination.name} was not written:\n  " + "\n  ".join(problems))
    atomic.write_text(destination, _plain_lists_on_one_line(atomic.json_text(record)))


def read_records(cells: Iterable[Cell], folder: Path = paths.RESULTS) -> dict[Cell, dict[str, Any]]:
    """The raw records of those `cells` that have a file, in the order given.

    Raises ValueError for a file that is no record or is another cell's, naming it and what to do.
    """
    return {cell: _load(cell, path(cell, folder)) for cell in cells if path(cell, folder).exists()}


def read(cells: Iterable[Cell], folder: Path = paths.RESULTS) -> Results:
    """Read the results of `cells` (those that the parameters ask for, never those that happen to lie there).

    The frame's columns: scale, stage, the cells' axes (backbone, compression, target), source_seed (the replicate of
    the backbone, whose column holds the architecture alone), method, budget, seed, status, reason, one for each
    metric (NaN where a run diverged), `reliability` (the bins as a dict, None where diverged), and whatever else
    rows hold, as it is. Orphans are looked for in stages of `cells` only. Raises ValueError as `read_records`.
    """
    import pandas as pd

    cells = list(cells)
    records = read_records(cells, folder)
    rows = [
        {"scale": cell.scale, "stage": cell.stage}
        | _axes(cell)
        | {key: row[key] for key in KEYS}
        | (row["metrics"] or {})
        | {key: value for key, value in row.items() if key not in (*KEYS, "metrics")}
        for cell, record in records.items()
        for row in record["rows"]
    ]
    axes = dict.fromkeys(axis for cell in cells for axis in _axes(cell))
    first = ["scale", "stage", *axes, *KEYS]
    metrics = sorted({name for record in records.values() for row in record["rows"] for name in row["metrics"] or ()})
    others = sorted({name for row in rows for name in row} - {*first, *metrics, "reliability"})
    expected = {path(cell, folder) for cell in cells}
    places = {(path(cell, folder).parent, cell.stage) for cell in cells}
    present = [found for place, stage in places for found in place.glob(f"{stage}-*.json")]
    return Results(
        frame=pd.DataFrame(rows, columns=[*first, *metrics, "reliability", *others]),
        missing=[cell for cell in cells if cell not in records],
        orphans=sorted(set(present) - expected),
    )


def _axes(cell: Cell) -> dict[str, Any]:
    """The axes of a cell, the backbone as architecture and replicate."""
    axes: dict[str, Any] = dict(cell.axes)
    if "backbone" in axes:
        axes["backbone"], axes["source_seed"] = read_backbone(axes["backbone"])
    return axes


def _plain_lists_on_one_line(text: str) -> str:
    """Reliability bins read better so. JSON escapes newlines: `[` at the end of a line is always a list's."""

    def joined(found: re.Match[str]) -> str:
        return "[" + " ".join(line.strip() for line in found[0].split("\n")[1:-1]) + "]"

    return re.sub(r"\[\n[^][{}]*\n *\]", joined, text)


def _load(cell: Cell, source: Path) -> dict[str, Any]:
    remedy = f"delete it and run `dvc repro {cell.name}`"
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source} is damaged ({error}); {remedy}") from None
    problems = list(_not_a_record(record))
    if not problems:
        wanted = {"stage": cell.stage, "study": cell.study, "scale": cell.scale} | dict(cell.axes)
        given = record["cell"]
        problems = [f"its {key} is {given.get(key)!r}" for key in wanted if given.get(key) != wanted[key]]
    if problems:
        raise ValueError(f"{source} is not the result of {cell.name} ({'; '.join(problems)}); {remedy}")
    return record


def _not_json(value: Any, at: str) -> Iterator[str]:
    """Every place below `value` that JSON cannot hold."""
    if isinstance(value, dict):
        for key, below in value.items():
            if not isinstance(key, str):
                yield f"{at} has the key {key!r}; keys are strings"
            yield from _not_json(below, f"{at}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, below in enumerate(value):
            yield from _not_json(below, f"{at}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{at} is {value}; use null, or record the run as diverged"
    elif not isinstance(value, str | int | float | None):
        yield f"{at} is a {type(value).__name__}; convert it to a plain number, string, list or dict"


def _not_a_record(record: Any) -> Iterator[str]:
    """What keeps `record` from being a result."""
    if not isinstance(record, dict) or sorted(record) != sorted(PARTS):
        yield f"a record has exactly the parts {', '.join(PARTS)}"
        return
    seen = set()
    for index, row in enumerate(record["rows"]):
        at = f"record['rows'][{index}]"
        lacking = [key for key in (*KEYS, "metrics", "reliability") if key not in row]
        if lacking:
            yield f"{at} lacks {', '.join(lacking)}"
            continue
        run = (row["method"], row["budget"], row["seed"])
        if run in seen:
            yield f"{at} is the second row of method {run[0]!r}, budget {run[1]!r}, seed {run[2]!r}"
        seen.add(run)
        if row["status"] not in STATUSES:
            yield f"{at} has the status {row['status']!r}; allowed: {', '.join(STATUSES)}"
        elif row["status"] == "ok" and (not row["metrics"] or None in row["metrics"].values()):
            yield f"{at} is ok, but lacks metrics"
        elif row["status"] == "diverged" and (row["metrics"] is not None or not row["reason"]):
            yield f"{at} has diverged: its metrics are null and it gives a reason"
