"""What is committed comes from what is committed: nothing would run in a fresh clone, and no file lacks its maker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from assets import needed_by
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from running import run_notebook

import studies.report
from studies import grid
from studies import parameters as study
from studies.claims import ledger
from vpstudy import paths

pytestmark = pytest.mark.slow

PLACES = ("data/models", "data/results", "figures", "notebooks/rendered")


def git(folder: Path, *words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()


# of git, as results that are only at hand are no part of this test
SCALES = sorted(name.split("/")[2] for name in git(paths.ROOT, "ls-files", "data/results/*/claims.json"))


@pytest.fixture(scope="module", params=SCALES)
def clone(request, tmp_path_factory) -> Path:
    """A fresh clone of the project with one of its scales in place."""
    folder = tmp_path_factory.mktemp(request.param) / "clone"
    git(paths.ROOT, "clone", "-q", str(paths.ROOT), str(folder))
    if study.read(folder / "params.yaml")["scale"] != request.param:  # else as it is committed, edited or not
        run(folder, "pipeline.cli", "scale", "--force", request.param)
    return folder


def run(clone: Path, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(clone), "DVC_SITE_CACHE_DIR": str(clone.parent / "site")}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def committed(clone: Path) -> set[str]:
    """The files of the scale in place that git has, results and figures and final notebooks."""
    scale = study.read(clone / "params.yaml")["scale"]
    listed = git(clone, "ls-files", "--", *(f"{place}/{scale}" for place in PLACES))
    return {name for name in listed if not name.endswith("/.gitkeep")}


@pytest.fixture(scope="module")
def drawn(clone, tmp_path_factory) -> set[str]:
    """The files that final notebooks write beside themselves, from the committed results; nothing is rendered."""
    parameters, folder = study.load(clone / "params.yaml"), tmp_path_factory.mktemp("drawn")
    needed_by(parameters.scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "load", lambda: parameters)
        patch.setattr(studies.report, "display", lambda *_, **__: None)
        patch.setattr(studies.report, "preview", lambda figure: figure)
        patch.setattr(paths, "RESULTS", clone / "data/results")
        patch.setattr(paths, "FIGURES", folder / "figures")
        patch.setattr(paths, "VECTORS", folder / "data/figures")
        patch.setattr(ledger, "path", lambda scale: folder / "data/results" / scale / "claims.json")
        # Intervals over test pictures take ten times the work, and which files there are does not depend on them.
        patch.setattr(ledger, "has_blocks", lambda _: False)
        patch.setattr(Figure, "savefig", lambda *_, **__: None)
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
        for stage in filter(grid.is_final, grid.STAGES):
            run_notebook(clone / "notebooks" / grid.STAGES[stage].notebook, save=True)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}


def outputs(clone: Path, drawn: set[str]) -> tuple[set[str], dict[str, int]]:
    """Every file that the stages in dvc.lock make where git keeps them; folders whose number of files differs."""
    files, differing = set(), {}
    for entry in yaml.safe_load((clone / "dvc.lock").read_text())["stages"].values():
        for out in entry["outs"]:
            inside = {name for name in drawn if name.startswith(f"{out['path']}/")}
            if "figures/" in out["path"] and len(inside) != out["nfiles"]:
                differing[out["path"]] = out["nfiles"]
            if out["path"].endswith("/clip"):  # of models, the maps of locked towers alone
                files |= {f"{out['path']}/{k}.safetensors" for k in range(out["nfiles"])}
            elif out["path"].startswith(PLACES[1:]):
                files |= inside if "nfiles" in out else {out["path"]}
    return files - of_studies_not_run(drawn), differing


def of_studies_not_run(drawn: set[str]) -> set[str]:
    """What says of a study that its scale does not run it, page and all; git has none of it."""
    notes = {name for name in drawn if name.startswith("figures/") and name.endswith("/not_run.md")}
    parts = (name.split("/") for name in notes)
    return notes | {f"notebooks/rendered/{scale}/{grid.STAGES[study].notebook}.ipynb" for _, scale, study, _ in parts}


def test_nothing_is_out_of_date_in_a_fresh_clone(clone):
    said = run(clone, "dvc", "repro", "--allow-missing", "--dry")
    assert "Running stage" not in said
    assert "didn't change" in said


def test_every_file_has_a_stage_that_makes_it_and_every_figure_is_there(clone, drawn):
    files, differing = outputs(clone, drawn)
    assert len(drawn) > 50
    assert committed(clone) - files == set(), "no stage makes these: git rm them"
    assert files - committed(clone) == set(), "git add these"
    assert differing == {}, "dvc.lock records another number of files"


def test_a_stale_file_and_a_missing_one_are_seen(clone, drawn):
    scale = study.read(clone / "params.yaml")["scale"]
    stale, missing = f"figures/{scale}/claims/stale.png", f"figures/{scale}/claims/claims.csv"
    (clone / stale).write_bytes(b"")
    git(clone, "add", stale)
    git(clone, "rm", "-q", missing)
    files, _ = outputs(clone, drawn)
    assert committed(clone) ^ files == {stale, missing}
    assert outputs(clone, drawn | {stale})[1].keys() == {f"figures/{scale}/claims"}


@pytest.mark.parametrize("name", git(paths.ROOT, "ls-files", "notebooks/rendered/*.ipynb"))
def test_the_words_of_a_rendered_notebook_are_those_of_its_source(name):
    """Words alone make no stage run again, so that a notebook could keep old ones."""

    def words(notebook: Path) -> set[str]:
        cells = json.loads(notebook.read_text())["cells"]
        return {"".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"}

    rendered = words(paths.ROOT / name)
    assert rendered and rendered <= words(paths.NOTEBOOKS / Path(name).name)
