"""The stages of dvc.yaml through DVC's own API: what is out of date and why, and recording what has run."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx
import psutil
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, loads_yaml

from pipeline import alone
from vpstudy import atomic


class Stages:
    """All stages of `root`/dvc.yaml by name, each after those that it depends on."""

    def __init__(self, root: Path):
        self.root = root
        os.chdir(root)  # DVC's run cache looks for dvc.yaml where it is called
        self.repo = Repo(str(root))
        self.graph = self.repo.index.graph  # an edge leads from a stage to one that it depends on
        place = {stage: number for number, stage in enumerate(self.repo.index.stages)}
        last_first = networkx.lexicographical_topological_sort(self.graph, key=lambda stage: -place[stage])
        self.by_name: dict[str, PipelineStage] = {stage.name: stage for stage in reversed(list(last_first))}

    @cached_property
    def _locked(self) -> dict[str, Any]:
        lock = self.root / "dvc.lock"
        return loads_yaml(lock.read_text(encoding="utf-8"), typ="rt") if lock.exists() else {"schema": "2.0"}

    def parents(self, name: str) -> list[str]:
        """The stages that `name` depends on."""
        return [stage.name for stage in self.graph.successors(self.by_name[name])]

    def children(self, name: str) -> list[str]:
        """The stages that depend on `name`."""
        return [stage.name for stage in self.graph.predecessors(self.by_name[name])]

    def ancestors(self, name: str) -> set[str]:
        """The stages that `name` depends on, and those that they depend on."""
        return {stage.name for stage in networkx.descendants(self.graph, self.by_name[name])}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold DVC's lock, so that no other DVC command and no second runner works here.

        Raises ValueError where one is at work. The lock ends with this process, whatever ends that.
        """
        try:
            self.repo.lock.lock()
        except LockError:
            raise ValueError(alone.BUSY) from None
        try:
            _clear_stage_locks(self.root)
            yield
        finally:
            self.repo.lock.unlock()

    def wanted(self, targets: list[str]) -> list[str]:
        """The stages that `targets` (stages, or kinds of stages) name, and all that they depend on; without any, all.

        Raises ValueError for a target that is no stage.
        """
        kinds = list(dict.fromkeys(name.split("@")[0] for name in self.by_name))
        if unknown := [target for target in targets if target not in {*self.by_name, *kinds}]:
            raise ValueError(f"{', '.join(unknown)}: no such stage; allowed: {', '.join(kinds)}, or one cell of these")
        if not targets:
            return list(self.by_name)
        asked = {stage for name, stage in self.by_name.items() if {name, name.split("@")[0]} & set(targets)}
        asked |= {other for stage in asked for other in networkx.descendants(self.graph, stage)}
        return [name for name, stage in self.by_name.items() if stage in asked]

    def reason(self, name: str) -> str:
        """Why DVC would run a stage whose parents are up to date; "" where it would not."""
        stage = self.by_name[name]
        if not any(out.hash_info for out in stage.outs):
            return "new"
        if stage.changed_stage():
            return "its command changed"
        for part in (*stage.deps, *stage.outs):
            for path, status in part.status().items():
                if isinstance(status, dict):  # of a parameters file: by key
                    return ", ".join(status) + " changed"
                return f"{self._modules(part) or path} {'changed' if status == 'modified' else f'is {status}'}"
        return ""

    def out_of_date(self, names: Iterable[str]) -> dict[str, str]:
        """Those of `names`, in order, that will run, or may (after one that will), each with the reason."""
        found: dict[str, str] = {}
        for name in names:
            # The lists of code are written before anyone asks, so that the stage which makes them changes nothing.
            before = [parent for parent in self.parents(name) if parent in found and parent != "code"]
            if reason := self.reason(name) or (f"after {before[0]}" if before else ""):
                found[name] = reason
        return found

    def inputs(self, name: str) -> dict[str, Any]:
        """What `name` depends on, as it is now: hashes of files, values of parameters."""
        return {str(dep): dep.get_hash().value for dep in self.by_name[name].deps if dep.exists}

    def bring_back(self, names: Iterable[str]) -> None:
        """Check out outputs that are gone from disk and still in the cache."""
        for name in names:
            for out in self.by_name[name].outs:
                if out.use_cache and not out.exists and not out.changed_cache():
                    out.checkout()

    def restore(self, name: str) -> bool:
        """Check out what an earlier run of `name` with these very inputs made, where DVC's cache has it."""
        try:
            self.repo.stage_cache.restore(self.by_name[name])
        except RunCacheNotFoundError:
            return False
        return True

    def record(self, names: Iterable[str]) -> None:
        """Take the outputs of stages into the cache and write their entries of dvc.lock, in one step."""
        for name in names:
            stage = self.by_name[name]
            stage.save()
            stage.commit()
            stage.cmd_changed = False
            self._locked.setdefault("stages", {}).update(to_lockfile(stage))
        atomic.write_text(self.root / "dvc.lock", dumps_yaml(self._locked))

    def _modules(self, dep: Any) -> str:
        """Which modules changed in a list of code, where the cache still has the recorded one."""
        try:
            before = json.loads(Path(self.repo.cache.local.oid_to_path(dep.hash_info.value)).read_text())
            now = json.loads(Path(dep.fs_path).read_text())
            return ", ".join(name for name in sorted(before | now) if before.get(name) != now.get(name))
        except (OSError, ValueError, TypeError, AttributeError):
            return ""


def _clear_stage_locks(root: Path) -> None:
    """Remove the note of what a killed `dvc repro` was at, which a kill may have cut, too."""
    note = root / ".dvc" / "tmp" / "rwlock"
    text = note.read_text(encoding="utf-8", errors="replace") if note.exists() else ""
    if alive := [pid for pid in re.findall(r'"pid": (\d+)', text) if psutil.pid_exists(int(pid))]:
        raise ValueError(f"{alone.BUSY} (process {alive[0]})")
    note.unlink(missing_ok=True)
