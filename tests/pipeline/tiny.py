"""A pipeline of the project's shape whose stages take no time, and a runner of it."""

import os
import time
from pathlib import Path

from dvc.repo import Repo

from pipeline import runner, stages, timings, workers

DVC_YAML = """
stages:
  code:
    cmd: echo never run
    deps: [module.py]
    outs: [data/code.json]
  source:
    matrix: {backbone: "${backbones}"}
    cmd: echo ${item.backbone}
    params: [source.steps]
    deps: [data/code.json]
    outs: ["data/${item.backbone}", "data/rounds-${item.backbone}": {persist: true}]
  transfer:
    matrix: {backbone: "${backbones}", target: "${study.targets}"}
    cmd: echo ${item.backbone} ${item.target}
    params: [study.seeds]
    deps: ["data/${item.backbone}", module.py]
    outs: ["results/${item.backbone}-${item.target}": {cache: false}]
  final:
    cmd: echo all
    params: [study]
    deps: [results]
    outs: [figure: {cache: false}]
"""
PARAMS = """
backbones: [cnn]
source: {steps: 1e-5}
study: {targets: [digits, faces], seeds: [0, 1]}
"""
ALL = ["code", "source@cnn", "transfer@cnn-digits", "transfer@cnn-faces", "final"]


def make(root: Path) -> Path:
    """Write the pipeline to `root`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text(PARAMS)
    (root / "module.py").write_text("one = 1\n")
    (root / "data").mkdir()
    (root / "data/code.json").write_text("{}")
    Repo.init(str(root), no_scm=True)
    return root


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def work(root: Path, name: str, outs: list[str], orders: dict[str, str]) -> dict:
    """What a worker does for a stage: note that it ran, obey `orders`, write its outputs."""
    with (root / "ran.txt").open("a") as ran:
        print(name, file=ran)
    order = orders.get(name, "")
    if order == "fail":
        return {"error": "it was told to"}
    if order == "die once" and not (root / "died").exists():
        (root / "died").touch()
        os._exit(1)
    while order == "wait" and not (root / "go on").exists():
        time.sleep(0.05)
    for out in outs:
        place = root / out
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{name} {(root / 'params.yaml').read_text().count('7')}")
    return {"seconds": 1.0}


def run(root: Path, targets: tuple[str, ...] = (), orders: dict[str, str] | None = None, force=False, cluster="local"):
    """Run what is out of date in `root`; the runner, and whether it came to its end."""
    found = stages.Stages(root)
    due = list(found.out_of_date(found.wanted(list(targets))))
    if force:
        due = found.wanted(list(targets))
    with found.alone():
        if "code" in due:
            due.remove("code")
            found.record(["code"])

        def task(name: str) -> tuple:
            return work, root, name, [out.def_path for out in found.by_name[name].outs], orders or {}

        estimate = timings.Estimate(found, root / "timings", lambda name: 1)
        with workers.connect(cluster, None, 2) as (client, cores):
            made = runner.Runner(found, client, task, estimate, due, cores, force=force)
            return made, made.run()


def ran(root: Path) -> list[str]:
    """The stages that ran since the last call, sorted."""
    path = root / "ran.txt"
    names = sorted(path.read_text().split()) if path.exists() else []
    path.unlink(missing_ok=True)
    return names
