"""Finished stages put into dvc.lock and DVC's cache, many at once.

`dvc repro` does this after each stage, and writes the whole of dvc.lock anew for it, slowly and in place: with some
hundred stages that takes longer than the stages do, and a kill in that moment loses the file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from vpstudy.execution import lock


def record(names: Sequence[str], root: Path) -> None:
    """Take the outputs of the stages `names` into the cache, then write their entries of dvc.lock in one step.

    To be called in the folder of dvc.yaml, as DVC has it. Waits for other DVC commands.
    """
    from dvc.repo import Repo
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        stages = [repo.stage.load_one(name=name) for name in names]
        for stage in stages:
            stage.save()
            stage.commit()
        entries = {stage.name: to_lockfile(stage)[stage.name] for stage in stages}
        lock.put(root, dumps_yaml({"schema": "2.0", "stages": entries}))


if __name__ == "__main__":  # a process of its own: DVC is heavy
    record(sys.argv[1:], Path.cwd())
