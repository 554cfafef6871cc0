"""The stages that dvc.yaml and params.yaml define, read without importing DVC (which takes seconds).

Only what this project's dvc.yaml uses is understood: `matrix`, `cmd`, `deps`, `params`, `outs` (with `cache`
and `persist`), `${...}`. Anything else is an error, so that no stage is judged by half of its definition.
"""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from vpstudy import yaml12

PARAMS = "params.yaml"
KEYS = {"matrix", "cmd", "deps", "params", "outs", "desc", "meta"}
FLAGS = {"cache", "persist"}
REFERENCE = re.compile(r"(?<!\\)\$\{(.*?)\}")


@dataclass(frozen=True)
class Output:
    path: str
    cached: bool = True
    persistent: bool = False


@dataclass(frozen=True)
class Stage:
    """One stage with all its references resolved."""

    name: str  # "transfer@cnn-int4-digits"
    cmd: str
    deps: tuple[str, ...]
    params: tuple[tuple[str, str], ...]  # (file, key)
    outs: tuple[Output, ...]

    @property
    def kind(self) -> str:
        return self.name.split("@")[0]


def stages(root: Path) -> list[Stage]:
    """Every stage of `root`/dvc.yaml, each after those it depends on.

    Raises ValueError for what this module does not understand, and for stages that depend on each other.
    """
    defined = yaml12.load((root / "dvc.yaml").read_text(encoding="utf-8"))
    known = values(root, PARAMS)
    found = []
    for name, definition in defined["stages"].items():
        if unknown := set(definition) - KEYS:
            raise ValueError(f"dvc.yaml, stage {name}: {', '.join(sorted(unknown))} is not understood")
        axes = _resolve(definition.get("matrix", {}), known)
        for combination in product(*axes.values()):
            item = dict(zip(axes, combination, strict=True))
            suffix = "@" + "-".join(map(_text, combination)) if axes else ""
            resolved = _resolve({k: v for k, v in definition.items() if k != "matrix"}, known | {"item": item})
            found.append(_stage(name + suffix, resolved))
    return _sorted(found)


def parents(stage: Stage, of: list[Stage]) -> list[Stage]:
    """Those of `of` that write a dependency of `stage`, a part of it, or the folder it lies in."""
    return [
        other
        for other in of
        if other is not stage and any(overlap(dep, out.path) for dep in stage.deps for out in other.outs)
    ]


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def values(root: Path, file: str) -> dict[str, Any]:
    """The content of a parameter file; empty where there is none."""
    path = root / file
    return (yaml12.load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def lookup(content: dict[str, Any], key: str) -> Any:
    """The value at a dotted key. Raises KeyError where there is none."""
    for part in key.split("."):
        content = content[int(part) if isinstance(content, list) else part]
    return content


def _stage(name: str, resolved: dict[str, Any]) -> Stage:
    params: list[tuple[str, str]] = []
    for entry in resolved.get("params", []):
        files = entry if isinstance(entry, dict) else {PARAMS: [entry]}
        params += [(file, key) for file, keys in files.items() for key in keys]
    outs = []
    for entry in resolved.get("outs", []):
        ((path, flags),) = entry.items() if isinstance(entry, dict) else [(entry, {})]
        if unknown := set(flags) - FLAGS:
            raise ValueError(f"dvc.yaml, stage {name}: {', '.join(sorted(unknown))} is not understood")
        outs.append(Output(path, flags.get("cache", True), flags.get("persist", False)))
    return Stage(name, resolved["cmd"], tuple(resolved.get("deps", ())), tuple(params), tuple(outs))


def _resolve(template: Any, known: dict[str, Any]) -> Any:
    if isinstance(template, dict):
        return {_resolve(key, known): _resolve(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [_resolve(value, known) for value in template]
    if not isinstance(template, str):
        return template
    if whole := REFERENCE.fullmatch(template):
        return _referenced(whole[1], known)
    return REFERENCE.sub(lambda found: _text(_referenced(found[1], known)), template)


def _referenced(key: str, known: dict[str, Any]) -> Any:
    try:
        return lookup(known, key)
    except (KeyError, TypeError):
        raise ValueError(f"dvc.yaml refers to ${{{key}}}, which {PARAMS} does not have") from None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sorted(found: list[Stage]) -> list[Stage]:
    """`found` in the order of dvc.yaml, but each after its parents."""
    waiting = {stage: {parent.name for parent in parents(stage, found)} for stage in found}
    ordered: dict[str, Stage] = {}
    while waiting:
        ready = [stage for stage, names in waiting.items() if names <= ordered.keys()]
        if not ready:
            raise ValueError(f"dvc.yaml: {', '.join(stage.name for stage in waiting)} depend on each other")
        for stage in ready:
            ordered[stage.name] = stage
            del waiting[stage]
    return list(ordered.values())
