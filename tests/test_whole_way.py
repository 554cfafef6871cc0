"""The whole pipeline at the smoke scale, in a temporary clone: from nothing to figures, stopped, tried and repeated."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from pipeline import code
from studies import grid, results
from studies import parameters as study
from studies.qprompt import claims as qprompt
from studies.vpns import claims as vpns
from vpstudy import paths

pytestmark = pytest.mark.slow

# What registries, which are free to change, read to tell names apart.
OF_REGISTRIES = ("vpstudy/data/sources.py", "vpstudy/yaml12.py")


def run(clone: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=clone, env=environment(clone), capture_output=True, text=True
    )
    assert done.returncode == 0 or not check, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def environment(clone: Path) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    return os.environ | {"PYTHONPATH": str(clone), "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])}


def ran(done: subprocess.CompletedProcess) -> list[str]:
    """The stages that a `dvc repro` ran."""
    lines = (done.stdout + done.stderr).splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage '")]


def copy_of_project(folder: Path) -> Path:
    """The files of the working tree that git would commit, as a repository of their own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        # committed results of other scales are not part of this test, and neither is their lock
        if (paths.ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("data/results"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / name, folder / name)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in which a run was killed in the middle of a cell, and continued."""
    folder = copy_of_project(tmp_path_factory.mktemp("whole way"))
    run(folder, "pipeline.cli", "scale", "smoke")
    first = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "repro"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600
    while not (folder / "data/results/smoke/backbones/compress-cnn-dense.json").exists():
        assert first.poll() is None, "the first run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    lock = folder / "dvc.lock"
    lock.write_text("")  # the worst moment: DVC empties its lock before it writes it
    continued = run(folder, "pipeline.cli", "repro")
    assert "imp@cnn" not in continued.stderr  # what had ended was not run again
    assert "transfer@cnn-dense-digits" in continued.stderr
    return folder


@pytest.fixture(scope="module")
def parameters(clone):
    return study.load(clone / "params.yaml")


def test_every_cell_has_its_result_and_its_notebook(clone, parameters):
    cells = [cell for cell in grid.cells(parameters) if cell.axes]
    records = results.read_records(cells, clone / "data" / "results")
    assert list(records) == cells
    for cell in cells:
        notebook = nbformat.read(clone / "data/notebooks/smoke" / f"{cell.file}.ipynb", as_version=4)
        assert all(output.output_type != "error" for c in notebook.cells for output in c.get("outputs", []))
    found = results.read(grid.cells(parameters, "transfer"), clone / "data" / "results")
    assert not found.missing
    assert not found.orphans
    methods = {"visual_prompting", "linear_probe", "fine_tuning"}
    assert set(found.frame["method"]) == methods | set(parameters.hidden_cost.settings.controls)
    ledger = json.loads((clone / "data/results/smoke/claims.json").read_text())
    claimed = [f"H{k}" for k in range(1, 8)] + [claim.id for study in (vpns, qprompt) for claim in study.CLAIMS]
    assert [record["id"] for record in ledger] == claimed
    pruned = results.read(grid.cells(parameters, "prune_with_prompts"), clone / "data" / "results")
    assert not pruned.missing and not pruned.orphans
    assert set(pruned.frame["arm"]) == {"main", "published", *parameters.vpns.settings.controls}
    prompts = results.read(grid.cells(parameters, "prompt"), clone / "data" / "results")
    assert not prompts.missing and not prompts.orphans
    assert {"one", "probe", "full", "ptq-1", "qat-1", "fixed-matched"} <= set(prompts.frame["arm"])
    assert {record["verdict"] for record in ledger} <= {"inconclusive", "not run at this scale"}  # of one seed


def test_figures_tables_and_the_final_notebook_are_there(clone):
    figures = clone / "figures/smoke/hidden_cost"
    names = {path.stem for path in figures.glob("*.svg")}
    assert names == {path.stem for path in figures.glob("*.png")}
    assert {"accuracy_by_sparsity", "change_heatmap", "ece_by_sparsity", "reliability", "prompts"} <= names
    assert (figures / "results.csv").exists()
    assert (clone / "figures/smoke/claims/forest_vpns.svg").exists()
    assert (clone / "figures/smoke/vpns/methods_accuracy.svg").exists()
    for page, name in (("91_vpns", "vpns"), ("92_qprompt", "qprompt"), ("93_across", "across")):
        pages = nbformat.read(clone / f"notebooks/rendered/smoke/{page}.ipynb", as_version=4)
        nbformat.validate(pages)
        shown = [o for c in pages.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
        assert len(shown) == len(list((clone / f"figures/smoke/{name}").glob("*.svg"))) > 0
    assert (clone / "figures/smoke/across/by_bits_cnn_digits.svg").exists()
    nbformat.validate(nbformat.read(clone / "notebooks/rendered/smoke/99_claims.ipynb", as_version=4))
    notebook = nbformat.read(clone / "notebooks/rendered/smoke/90_hidden_cost.ipynb", as_version=4)
    nbformat.validate(notebook)
    pictures = [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == len(names)
    assert str(clone) not in json.dumps(notebook)


def test_nothing_to_do_takes_seconds(clone):
    start = time.monotonic()
    assert ran(run(clone, "dvc", "repro")) == []
    assert time.monotonic() - start < 10
    assert "up to date" in run(clone, "pipeline.cli", "plan").stdout


def test_cells_declare_the_modules_that_their_kernels_import(clone, parameters):
    locked = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    for cell in grid.cells(parameters):
        imported = set(json.loads((clone / "data/timings/smoke" / f"{cell.name}.json").read_text())["modules"])
        deps = {dep["path"] for dep in locked[cell.name]["deps"]}
        declared = {dep for dep in deps if dep.endswith(".py")}
        for target in (dep for dep in deps if dep.startswith("data/targets/")):  # a list of the modules that make it
            declared |= set(json.loads((clone / target).read_text()))
        listed = set(json.loads((clone / "data/code" / f"{cell.stage}.json").read_text()))
        assert imported - {*code.FREE, *OF_REGISTRIES} <= declared | listed, cell.name
        assert {name for name in listed if name.endswith(".py") and "__init__" not in name} <= imported, cell.name
    assert "vpstudy/models/architectures.py" in {dep["path"] for dep in locked["source@cnn"]["deps"]}


def test_a_repeated_cell_is_the_same_bytes(clone):
    name = "cnn-imp-0.50-digits"
    written = [
        clone / f"data/results/smoke/hidden_cost/transfer-{name}.json",
        clone / f"data/notebooks/smoke/transfer-{name}.ipynb",
        clone / f"data/probabilities/smoke/transfer-{name}.safetensors",
    ]
    before = [path.read_bytes() for path in written]
    done = run(clone, "dvc", "repro", "--force", "--single-item", f"transfer@{name}")
    assert ran(done) == [f"transfer@{name}"]
    assert [path.read_bytes() for path in written] == before


def test_trying_a_value_in_a_notebook_re_runs_no_cell(clone):
    path = clone / "notebooks/30_transfer.ipynb"
    before = path.read_text()
    notebook = nbformat.reads(before, as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source = cell.source.replace('compression = "imp-0.90"', 'compression = "int4"')
    cell.execution_count = 7
    assert cell.source != next(c for c in nbformat.reads(before, as_version=4).cells if c.id == cell.id).source
    path.write_text(nbformat.writes(notebook))
    try:
        assert ran(run(clone, "dvc", "repro")) == ["code"]
    finally:
        path.write_text(before)
        run(clone, "dvc", "repro")


def test_a_changed_compression_re_runs_its_cells_and_what_follows(clone):
    path = clone / "params.yaml"
    before = path.read_text()
    path.write_text(before.replace("int4", "int5"))
    try:
        plan = run(clone, "pipeline.cli", "plan").stdout
        done = run(clone, "dvc", "repro")
    finally:
        path.write_text(before)
    cells = ["compress@cnn-int5", "transfer@cnn-int5-digits"]
    assert ran(done)[:2] == cells and set(ran(done)[2:]) == {"hidden_cost", "claims"}
    assert "compress@cnn-int5" in plan
    assert "compress@cnn-dense" not in plan
    orphan = "transfer-cnn-int4-digits.json belongs to no cell"
    assert orphan in (clone / "notebooks/rendered/smoke/90_hidden_cost.ipynb").read_text()


def test_wrong_parameters_stop_every_command_before_a_kernel(clone):
    path = clone / "params.yaml"
    before = path.read_text()
    path.write_text(
        before.replace("[dense, imp-0.50, int4, w4a4]", "[dense, imp-1.5]").replace("seeds: [0]", "sedes: [0]")
    )
    try:
        for words in (["pipeline.cli", "repro"], ["pipeline.cli", "check"], ["pipeline.cli", "run", "source", "cnn"]):
            done = run(clone, *words, check=False)
            assert done.returncode != 0
            for told in ("imp-1.5", "hidden_cost.sedes", "did you mean seeds"):
                assert told in done.stderr, words
            assert "Traceback" not in done.stderr
    finally:
        path.write_text(before)
