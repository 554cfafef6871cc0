"""Reads and writes results: one small JSON file per cell, kept in git."""

import json
import platform
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from studies.cells import Cell
from vpstudy import atomic, paths
from vpstudy.settings import problems_of

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("method", "budget", "seed", "status", "reason")
PARTS = ("facts", "rows")  # of each source checkpoint
PACKAGES = ("numpy", "pillow", "scikit-image", "scikit-learn", "timm", "torch", "torchvision")


class Row(BaseModel):
    """One run of a cell: metrics if it finished, a reason if it diverged; cells add their own keys."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    method: str
    budget: str | None  # training pictures per class
    seed: int
    status: Literal["ok", "diverged"]
    reason: str | None
    metrics: dict[str, float] | None
    reliability: dict[str, JsonValue] | None

    @model_validator(mode="after")
    def _finished_or_diverged(self) -> "Row":
        if self.status == "ok" and not self.metrics:
            raise ValueError("a row that is ok has metrics")
        if self.status == "diverged" and (self.metrics is not None or not self.reason):
            raise ValueError("a row that diverged has a reason, and null for metrics")
        return self


class OfCheckpoint(BaseModel):
    """What a cell found with one source checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    facts: dict[str, JsonValue]
    rows: list[Row]

    @field_validator("rows")
    @classmethod
    def _distinct(cls, rows: list[Row]) -> list[Row]:
        runs = [(row.method, row.budget, row.seed) for row in rows]
        if twice := [run for run in dict.fromkeys(runs) if runs.count(run) > 1]:
            raise ValueError(f"these runs (method, budget, seed) stand twice: {twice}")
        return rows


class Result(BaseModel):
    """Content of a cell's result file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    cell: dict[str, JsonValue]
    environment: dict[str, JsonValue]
    checkpoints: Annotated[list[OfCheckpoint], Field(min_length=1)]  # by number; a cell without backbone has one


@dataclass(frozen=True)
class Results:
    """The results of several cells."""

    frame: "pd.DataFrame"  # one row per row of each cell
    contents: list[dict[str, Any]]  # of each cell and source checkpoint: cell (with source_seed), facts, rows
    cells: list[Cell]  # with a file
    missing: list[Cell]  # without one
    orphans: list[Path]  # files of the same stages, but of no cell

    def notes(self) -> list[str]:
        """What is missing, with the command that makes it, and one line per orphan, for printing."""
        return not_made(self.missing) + [
            f"orphan: {path.name} belongs to no cell of params.yaml" for path in self.orphans
        ]


def not_made(cells: Iterable[Cell]) -> list[str]:
    """A line for each stage of cells without a result: some of their names, and the command that makes them."""
    stages: dict[str, list[str]] = {}
    for cell in cells:
        stages.setdefault(cell.stage, []).append(cell.name)
    return [
        f"missing: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "
        f"(`vpstudy repro {names[0] if len(names) == 1 else stage}`)"
        for stage, names in stages.items()
    ]


def path(cell: Cell, folder: Path | None = None) -> Path:
    """Path of a result: `<folder>/<scale>/<study>/<stage>-<slug>.json`, by default in `paths.RESULTS`."""
    return (folder or paths.RESULTS) / cell.scale / cell.study / f"{cell.file}.json"


def prompt_path(cell: Cell) -> Path:
    """Path of the picture of a cell's prompt, beside its result: `<stage>-<slug>-prompt.png`."""
    return path(cell).with_name(f"{cell.file}-prompt.png")


def environment(device: str, precision: str, threads: int) -> dict[str, str | int]:
    """Versions, device, precision and threads, which may affect numbers; no machine names or times."""
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    return {
        "python": platform.python_version(),
        "vpstudy": project["version"],
        **{name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "precision": precision,
        "threads": threads,
    }


def write(destination: Path, found: Sequence[dict[str, Any]]) -> None:
    """Validate the results with each source checkpoint and write them as one file, atomically.

    Each has cell and environment, the same for all, facts and rows. Equal results give equal bytes. ValueError lists
    all problems.
    """
    result = {name: value for name, value in found[0].items() if name not in PARTS}
    result["checkpoints"] = [{name: one[name] for name in PARTS} for one in found]
    if problems := problems_of(result, Result):
        raise ValueError(f"{destination.name} was not written:\n  " + "\n  ".join(problems))
    atomic.write_text(destination, _plain_lists_on_one_line(atomic.json_text(result)))


def read(cells: Iterable[Cell], folder: Path | None = None) -> Results:
    """Read the results of `cells`; other files of their stages are orphans and are not read.

    Columns of the frame: scale, stage, the cells' axes, source_seed (number of the source checkpoint), method, budget,
    seed, status, reason, each metric (NaN if diverged), `reliability` (bins as a dict, None if diverged), and any other
    keys of rows. Raises ValueError for a damaged file or one of another cell, with a remedy.
    """
    import pandas as pd

    places = {cell: path(cell, folder) for cell in cells}
    files = {cell: _load(cell, place) for cell, place in places.items() if place.exists()}
    contents = [
        {"cell": file["cell"] | {"source_seed": k}, **part}
        for file in files.values()
        for k, part in enumerate(file["checkpoints"])
    ]
    axes = dict.fromkeys(axis for cell in places for axis, _ in cell.axes)
    first = ["scale", "stage", *axes, "source_seed"]
    rows = [
        {name: content["cell"].get(name) for name in first}
        | {key: row[key] for key in KEYS}
        | (row["metrics"] or {})
        | {key: value for key, value in row.items() if key not in (*KEYS, "metrics")}
        for content in contents
        for row in content["rows"]
    ]
    first += KEYS
    metrics = sorted({name for each in contents for row in each["rows"] for name in row["metrics"] or ()})
    others = sorted({name for row in rows for name in row} - {*first, *metrics, "reliability"})
    folders = {(place.parent, cell.stage) for cell, place in places.items()}
    present = {found for place, stage in folders for found in place.glob(f"{stage}-*.json")}
    return Results(
        frame=pd.DataFrame(rows, columns=[*first, *metrics, "reliability", *others]),
        contents=contents,
        cells=list(files),
        missing=[cell for cell in places if cell not in files],
        orphans=sorted(present - set(places.values())),
    )


def _plain_lists_on_one_line(text: str) -> str:
    """Makes reliability bins readable. JSON escapes newlines, so `[` at a line's end opens a list."""

    def joined(found: re.Match[str]) -> str:
        return "[" + " ".join(line.strip() for line in found[0].split("\n")[1:-1]) + "]"

    return re.sub(r"\[\n[^][{}]*\n *\]", joined, text)


def _load(cell: Cell, source: Path) -> dict[str, Any]:
    remedy = f"delete it and run `dvc repro {cell.name}`"
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source} is damaged ({error}); {remedy}") from None
    problems = problems_of(result, Result)
    if not problems:
        wanted = {"stage": cell.stage, "study": cell.study, "scale": cell.scale} | dict(cell.axes)
        given = result["cell"]
        problems = [f"its {key} is {given.get(key)!r}" for key in wanted if given.get(key) != wanted[key]]
    if problems:
        raise ValueError(f"{source} is not the result of {cell.name} ({'; '.join(problems)}); {remedy}")
    return result
