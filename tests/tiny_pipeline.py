"""A pipeline of the project's shape whose stages take no time, for tests against DVC itself."""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from vpstudy import paths

DVC_YAML = """
stages:
  code:
    cmd: python make.py code
    deps: [notebooks/30_transfer.ipynb, vpstudy]
    outs: [data/code/transfer.json, data/targets/digits.json, data/targets/faces.json]
  source:
    matrix: {backbone: "${backbones}"}
    cmd: python make.py source data/models/${scale}/${item.backbone}.txt
    params: [execution, source.steps]
    deps: [make.py]
    outs:
      - data/models/${scale}/${item.backbone}.txt
      - data/models/${scale}/${item.backbone}/rounds: {persist: true}
  transfer:
    matrix: {backbone: "${backbones}", target: "${study.targets}"}
    cmd: python make.py transfer data/results/${scale}/${item.backbone}-${item.target}.json
    params: [execution, study.seeds]
    deps:
      - data/code/transfer.json
      - data/targets/${item.target}.json
      - data/models/${scale}/${item.backbone}.txt
      - data/models/${scale}/${item.backbone}/rounds
      - module.py
    outs:
      - data/results/${scale}/${item.backbone}-${item.target}.json: {cache: false}
      - data/pages/${scale}-${item.backbone}-${item.target}.txt
  final:
    cmd: python make.py final figures/${scale}
    params: [study]
    deps: ["data/results/${scale}"]
    outs:
      - figures/${scale}: {cache: false}
"""
PARAMS = """
scale: default
execution: {device: auto, rate: 1e-3, on: off}
backbones: [cnn]
source: {steps: 1.0e-5, unused: 3}
study: {targets: [digits, faces], seeds: [0, 1], note: a}
"""
MAKE = """
import sys, pathlib
kind, place = sys.argv[1], sys.argv[-1]
def write(at, text):
    at = pathlib.Path(at)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(text)
with open("ran.txt", "a") as ran:
    print(kind, pathlib.Path(place).stem, file=ran)
if kind == "code":
    from pipeline import code
    here = pathlib.Path.cwd()
    code.write({"transfer": here / "notebooks/30_transfer.ipynb"}, here / "data/code", here)
    code.write_targets(here / "data/targets", here)
elif kind == "source":
    write(place, "weights")
    write(place.removesuffix(".txt") + "/rounds/1.txt", "one")
    write(place.removesuffix(".txt") + "/rounds/deep/2.txt", "two")
elif kind == "transfer":
    write(place, "result of " + place)
    write("data/pages/default-" + pathlib.Path(place).stem + ".txt", "page")
else:
    write(place + "/a.svg", "figure")
"""
CODE = "from vpstudy import one\n1"


def notebook(source: str, output: str = "") -> str:
    outputs = [{"output_type": "stream", "name": "stdout", "text": output}] if output else []
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": source, "outputs": outputs}
    cell["execution_count"] = 1 if output else None
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def make(root: Path) -> None:
    """Write the pipeline to `root` and run it."""
    (root / "notebooks").mkdir(parents=True)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text(PARAMS)
    (root / "make.py").write_text(MAKE)
    (root / "module.py").write_text("one = 1\n")
    (root / "vpstudy").mkdir()  # no package, or it would hide the real one from make.py
    (root / "vpstudy" / "one.py").write_text("from vpstudy import two\n")
    (root / "vpstudy" / "two.py").write_text('"""Two."""\ntwo = 2  # a comment\n')
    (root / "vpstudy" / "data").mkdir()
    for name in ("pictures", "digits", "faces", "letters", "textures"):
        (root / "vpstudy" / "data" / f"{name}.py").write_text(f"{name} = 1  # a comment\n")
    (root / "notebooks" / "30_transfer.ipynb").write_text(notebook(CODE))
    Repo.init(str(root), no_scm=True)
    repro(root)


def changed(root: Path, allow_missing: bool) -> set[str]:
    """The stages that DVC takes for out of date. (`dvc repro --dry` fails where dependencies are missing.)"""
    with contextlib.chdir(root), Repo(str(root)) as repo, repo.lock:
        graph = repo.index.graph
        return {s.name for s in repo.index.stages if s.changed(allow_missing, list(graph.successors(s)))}


def repro(root: Path, **options) -> list[str]:
    """`dvc repro` in `root`; the names of the stages that ran."""
    with contextlib.chdir(root), Repo(str(root)) as repo:  # DVC looks for dvc.yaml where it is called
        return [stage.name for stage in repo.reproduce(**options)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(paths.ROOT))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        root = tmp_path_factory.mktemp("made") / "project"
        make(root)
        yield root


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    """A copy of the finished pipeline, and the place to work in."""
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
