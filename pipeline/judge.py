"""Whether a stage is out of date, and why: DVC's rules, from dvc.yaml, dvc.lock and the files."""

import configparser
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import code
from pipeline.checksums import checksum
from pipeline.definition import Output, Stage, lookup, overlap, parents, stages, values
from studies import grid
from vpstudy import atomic, yaml12
from vpstudy.data.registry import EMBEDDED

LARGE = 2**20  # bytes of a cached output from which on it is told by its size, so that this stays quick
UP_TO_DATE, WILL_RUN, MAY_RUN = "up to date", "will run", "may run"


@dataclass(frozen=True)
class Verdict:
    """What `dvc repro` will do with a stage."""

    stage: Stage
    state: str  # WILL_RUN: itself out of date; MAY_RUN: if a stage before it comes out different; or UP_TO_DATE
    reason: str  # "" where up to date


def judge(root: Path, allow_missing: bool = False) -> list[Verdict]:
    """The verdict on every stage, in an order in which they can run.

    With `allow_missing`, as `dvc repro --allow-missing`: what is neither in the folder nor in the cache, as
    in a fresh clone, is no reason to run. Raises ValueError where dvc.yaml or dvc.lock cannot be read.
    """
    one = _Judge(root, allow_missing)
    return [one.verdict(stage) for stage in one.defined]


def inputs(stage: Stage, root: Path) -> dict[str, Any]:
    """All that a run of `stage` depends on, as it is now; of the lists of code, what they would be now."""
    return {
        "cmd": stage.cmd,
        "params": {f"{file}:{key}": _param(file, key, root) for file, key in stage.params},
        "deps": {dep: _list_now(root / dep, root) or checksum(root / dep, root) for dep in stage.deps},
    }


def _param(file: str, key: str, root: Path) -> Any:
    try:
        return lookup(values(root, file), key)
    except (KeyError, TypeError):
        return None


def _list_now(path: Path, root: Path) -> str | None:
    if path.parent != root / "data" / "code" and not _of_target(path, root):
        return None
    try:
        return hashlib.md5(atomic.json_text(_code_list(path, root)).encode()).hexdigest()
    except ValueError:  # a module is being written
        return "no Python"


def changed(stage: Stage, root: Path) -> str:
    """Why `stage`, all of whose parents have run, is out of date; "" where it is not."""
    return _Judge(root, False)._changed(stage)


class _Judge:
    def __init__(self, root: Path, allow_missing: bool):
        self.root, self.allow_missing = root, allow_missing
        self.defined, self.locked = stages(root), _locked(root)
        self.cache = _cache(root)
        self.writers = {out.path: stage.name for stage in self.defined for out in stage.outs}
        self.verdicts: dict[str, Verdict] = {}
        self.foreseen: dict[str, str] = {}  # checksums that stages will give, where known in advance
        self.params: dict[str, dict[str, Any]] = {}

    def verdict(self, stage: Stage) -> Verdict:
        """To be asked of parents first."""
        if reason := self._changed(stage):
            found = Verdict(stage, WILL_RUN, reason)
            self.foreseen |= _code_lists(stage, self.root)
        elif before := [p.name for p in parents(stage, self.defined) if self._may_change(stage, p)]:
            found = Verdict(stage, MAY_RUN, f"after {before[0]}")
        else:
            found = Verdict(stage, UP_TO_DATE, "")
        self.verdicts[stage.name] = found
        return found

    def _may_change(self, stage: Stage, parent: Stage) -> bool:
        """Whether a run of `parent` may change what `stage` depends on."""
        if self.verdicts[parent.name].state == UP_TO_DATE:
            return False
        shared = {out.path for out in parent.outs for dep in stage.deps if overlap(dep, out.path)}
        return not shared <= self.foreseen.keys()

    def _changed(self, stage: Stage) -> str:
        """Why `stage` is out of date by itself; "" where it is not."""
        entry = self.locked.get(stage.name)
        if entry is None:
            return "new"
        if entry.get("cmd") != stage.cmd:
            return "its command changed"
        deps, outs = ({item["path"]: item for item in entry.get(part, [])} for part in ("deps", "outs"))
        params = entry.get("params", {})
        reasons = [self._param(file, key, params.get(file, {})) for file, key in stage.params]
        reasons += [self._dep(dep, deps.get(dep, {})) for dep in stage.deps]
        # DVC gets deleted outputs back from its cache only if all outputs of the stage are there.
        restorable = all(out.cached and not out.persistent for out in stage.outs)
        reasons += [self._out(out, outs.get(out.path, {}), restorable) for out in stage.outs]
        return next(filter(None, reasons), "")

    def _param(self, file: str, key: str, before: dict[str, Any]) -> str:
        if file not in self.params:
            self.params[file] = values(self.root, file)
        try:
            return "" if lookup(self.params[file], key) == before[key] else f"{key} changed"
        except (KeyError, TypeError):
            return f"{key} changed"

    def _dep(self, path: str, before: dict[str, Any]) -> str:
        now = self.foreseen.get(path)
        if now is None and path in self.writers and not (self.root / path).exists():
            now = self._out_of(self.writers[path], path)  # its own stage tells if it is missing
        elif now is None:
            now = checksum(self.root / path, self.root)
        if now is None:
            return "" if self.allow_missing else f"{path} is missing"
        if now == before.get("md5"):
            return ""
        return _changed_module(self.root / path, self.root) if path in self.foreseen else f"{path} changed"

    def _out_of(self, name: str, path: str) -> str | None:
        outs = self.locked.get(name, {}).get("outs", [])
        return next((item["md5"] for item in outs if item["path"] == path), None)

    def _out(self, out: Output, before: dict[str, Any], restorable: bool) -> str:
        path = self.root / out.path
        if not path.exists() and self.allow_missing:
            return ""
        md5 = before.get("md5")
        if md5 is None:
            return f"{out.path} is new"
        if out.cached and not (self.cache / md5[:2] / md5[2:]).exists():
            return "" if self.allow_missing else f"{out.path} is not in the cache"
        if not path.exists():
            return "" if restorable else f"{out.path} is missing"
        if out.cached and before["size"] > LARGE:
            same = before["size"] == _size(path)
        else:
            same = md5 == checksum(path, self.root)
        return "" if same else f"{out.path} changed"


def _locked(root: Path) -> dict[str, dict[str, Any]]:
    path = root / "dvc.lock"
    if not path.exists():
        return {}
    try:
        return yaml12.load(path.read_text(encoding="utf-8"))["stages"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("dvc.lock is damaged; `vpstudy repro` repairs it, or take `git checkout dvc.lock`") from None


def _cache(root: Path) -> Path:
    """Where DVC keeps outputs: `.dvc/cache`, or a folder set with `dvc cache dir`."""
    config = configparser.ConfigParser(strict=False, interpolation=None)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    return root / ".dvc" / config.get("cache", "dir", fallback="cache") / "files" / "md5"


def _size(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def _code_lists(stage: Stage, root: Path) -> dict[str, str]:
    """Checksums of the lists that the stage which writes them will write.

    A changed comment, or a run saved in JupyterLab, makes that stage run, but leaves its lists, and so all cells.
    """
    if not stage.cmd.endswith(" code"):
        return {}
    return {
        out.path: hashlib.md5(atomic.json_text(_code_list(root / out.path, root)).encode()).hexdigest()
        for out in stage.outs
    }


def _of_target(path: Path, root: Path) -> bool:
    return path.parent == root / "data" / "targets" and path.stem in EMBEDDED


def _code_list(path: Path, root: Path) -> code.Digests:
    if _of_target(path, root):
        return code.of_target(path.stem, root)
    return code.digests(root / "notebooks" / f"{grid.STAGES[path.stem].notebook}.ipynb", root)


def _changed_module(path: Path, root: Path) -> str:
    """Which of the files in the list at `path` changed since that was written, where it is still there to tell."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = _code_list(path, root)
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    return f"{', '.join(names if before and names else [f'the code of {path.stem}'])} changed"
