"""The one writer and the one reader of results: a small JSON file a cell, kept in git."""

import json
import platform
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, field_validator, model_validator

from studies.cells import Cell
from vpstudy import atomic, paths
from vpstudy.models.architectures import parse as parse_backbone
from vpstudy.settings import problems_of

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("method", "budget", "seed", "status", "reason")
PACKAGES = ("numpy", "pillow", "scikit-image", "scikit-learn", "timm", "torch", "torchvision")


class Row(BaseModel):
    """One run of a cell: metrics if it finished, a reason if it diverged; cells add keys of their own."""

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


class Result(BaseModel):
    """What the file of a cell holds."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    cell: dict[str, JsonValue]
    environment: dict[str, JsonValue]
    facts: dict[str, JsonValue]
    rows: list[Row]

    @field_validator("rows")
    @classmethod
    def _distinct(cls, rows: list[Row]) -> list[Row]:
        runs = [(row.method, row.budget, row.seed) for row in rows]
        if twice := [run for run in dict.fromkeys(runs) if runs.count(run) > 1]:
            raise ValueError(f"these runs (method, budget, seed) stand twice: {twice}")
        return rows


@dataclass(frozen=True)
class Results:
    """The results of several cells."""

    frame: "pd.DataFrame"  # a row for each row of each cell
    contents: dict[Cell, dict[str, Any]]  # what the file of each cell holds
    missing: list[Cell]  # asked for, but without a file
    orphans: list[Path]  # files of the same stages that belong to none of the cells

    def notes(self) -> list[str]:
        """One line for each missing cell and each orphan, for tables to print."""
        lines = [f"missing: {cell.name} has no result yet (`dvc repro {cell.name}`)" for cell in self.missing]
        return lines + [f"orphan: {path.name} belongs to no cell of params.yaml" for path in self.orphans]


def path(cell: Cell, folder: Path | None = None) -> Path:
    """Where the result of `cell` lies: `<folder>/<scale>/<study>/<stage>-<slug>.json`, default: `paths.RESULTS`."""
    return (folder or paths.RESULTS) / cell.scale / cell.study / f"{cell.file}.json"


def prompt_path(cell: Cell) -> Path:
    """Where the picture of the cell's learned prompt lies, beside its result: `<stage>-<slug>-prompt.png`."""
    return path(cell).with_name(f"{cell.file}-prompt.png")


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


def write(destination: Path, result: dict[str, Any]) -> None:
    """Check `result` against `Result` and write it, whole or not at all; equal results give equal bytes.

    Raises ValueError with every problem and its place: what JSON cannot hold, missing parts, rows without metrics.
    """
    if problems := problems_of(result, Result):
        raise ValueError(f"{destination.name} was not written:\n  " + "\n  ".join(problems))
    atomic.write_text(destination, _plain_lists_on_one_line(atomic.json_text(result)))


def read(cells: Iterable[Cell], folder: Path | None = None) -> Results:
    """Read the results of `cells` (those that the parameters ask for, never those that happen to lie there).

    The frame's columns: scale, stage, the cells' axes (backbone, compression, target), source_seed (the replicate of
    the backbone, whose column holds the architecture alone), method, budget, seed, status, reason, one for each
    metric (NaN where a run diverged), `reliability` (the bins as a dict, None where diverged), and whatever else
    rows hold, as it is. Orphans are looked for in stages of `cells` only.

    Raises ValueError for a file that is damaged or another cell's, naming it and what to do.
    """
    import pandas as pd

    places = {cell: path(cell, folder) for cell in cells}
    contents = {cell: _load(cell, place) for cell, place in places.items() if place.exists()}
    rows = [
        {"scale": cell.scale, "stage": cell.stage}
        | _axes(cell)
        | {key: row[key] for key in KEYS}
        | (row["metrics"] or {})
        | {key: value for key, value in row.items() if key not in (*KEYS, "metrics")}
        for cell, content in contents.items()
        for row in content["rows"]
    ]
    axes = dict.fromkeys(axis for cell in places for axis in _axes(cell))
    first = ["scale", "stage", *axes, *KEYS]
    metrics = sorted({name for each in contents.values() for row in each["rows"] for name in row["metrics"] or ()})
    others = sorted({name for row in rows for name in row} - {*first, *metrics, "reliability"})
    folders = {(place.parent, cell.stage) for cell, place in places.items()}
    present = {found for place, stage in folders for found in place.glob(f"{stage}-*.json")}
    return Results(
        frame=pd.DataFrame(rows, columns=[*first, *metrics, "reliability", *others]),
        contents=contents,
        missing=[cell for cell in places if cell not in contents],
        orphans=sorted(present - set(places.values())),
    )


def _axes(cell: Cell) -> dict[str, Any]:
    """The axes of a cell, the backbone as architecture and replicate."""
    axes: dict[str, Any] = dict(cell.axes)
    if "backbone" in axes:
        axes["backbone"], axes["source_seed"] = parse_backbone(axes["backbone"])
    return axes


def _plain_lists_on_one_line(text: str) -> str:
    """Reliability bins read better so. JSON escapes newlines: `[` at the end of a line is always a list's."""

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
