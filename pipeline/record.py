"""Finished stages put into dvc.lock and DVC's cache, many at once.

`dvc repro` does this after each stage, and writes the whole of dvc.lock anew for it, slowly and in place: with some
hundred stages that takes longer than the stages do, and a kill in that moment loses the file.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline import lock


def record(ran: Mapping[str, dict], root: Path) -> None:
    """Take the outputs of stages that `ran` into the cache, then write their entries of dvc.lock in one step.

    To be called in the folder of dvc.yaml, as DVC has it. Waits for other DVC commands. A stage whose inputs are no
    longer those that it ran with (`judge.inputs`) is told and left out.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        stages = []
        for name, inputs in ran.items():
            try:
                stage = repo.stage.load_one(name=name)
                stage.save(run_cache=False)
                if _saved(stage) != inputs:
                    raise DvcException("what it depends on changed before it was written down")
                stage.commit()
                repo.stage_cache.save(stage)
                stages.append(stage)
            except DvcException as error:
                print(f"{name}: {error}: it will run again", file=sys.stderr)
        entries = {stage.name: to_lockfile(stage)[stage.name] for stage in stages}
        lock.put(root, dumps_yaml({"schema": "2.0", "stages": entries}))


def _saved(stage) -> dict:
    params = [dep for dep in stage.deps if hasattr(dep, "params")]
    return {
        "cmd": stage.cmd,
        "params": {f"{dep.def_path}:{k}": v for dep in params for k, v in dep.hash_info.value.items()},
        "deps": {dep.def_path: dep.hash_info.value for dep in stage.deps if dep not in params},
    }


if __name__ == "__main__":  # a process of its own: DVC is heavy
    record(json.load(sys.stdin), Path.cwd())
