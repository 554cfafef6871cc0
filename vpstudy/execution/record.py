"""Finished stages put into dvc.lock and DVC's cache, many at once; and what an earlier run left, taken from there.

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

    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        stages = [repo.stage.load_one(name=name) for name in names]
        for stage in stages:
            stage.save()
            stage.commit()
        _write(stages, root)


def restore(names: Sequence[str], root: Path) -> list[str]:
    """Those of `names` that ran before with just these inputs, their outputs brought back from DVC's run cache."""
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError

    restored = []
    with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        for name in names:
            stage = repo.stage.load_one(name=name)
            try:
                repo.stage_cache.restore(stage)  # compares the inputs as they were with what they are, then looks there
            except RunCacheNotFoundError:
                continue
            stage.save()
            restored.append(stage)
        _write(restored, root)
    return [stage.name for stage in restored]


def _write(stages: list, root: Path) -> None:
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    if stages:
        entries = {stage.name: to_lockfile(stage)[stage.name] for stage in stages}
        lock.put(root, dumps_yaml({"schema": "2.0", "stages": entries}))


def main(what: str, names: list[str]) -> None:
    """The command `python -m vpstudy.execution.record record|restore STAGE…`, a process of its own: DVC is heavy."""
    done = record(names, Path.cwd()) if what == "record" else restore(names, Path.cwd())
    print(*(done or []), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
