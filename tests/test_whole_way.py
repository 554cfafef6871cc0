"""The whole pipeline at the smoke scale, in temporary clones: by DVC alone, and by the runner, killed on its way."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

from pipeline import fingerprints
from studies import grid, results
from studies import parameters as study
from vpstudy import paths

pytestmark = pytest.mark.slow

KILLS = 8
PRODUCED = ("data/results", "data/models", "data/probabilities", "data/notebooks", "figures", "notebooks/rendered")


def environment(clone: Path) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    return os.environ | {
        "PYTHONPATH": str(clone),
        "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]]),
        "DVC_SITE_CACHE_DIR": str(clone.parent / f"site of {clone.name}"),
    }


def run(clone: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True)
    assert done.returncode == 0 or not check, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def vpstudy(clone: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess:
    return run(clone, "pipeline.cli", *words, check=check)


def clone_of_project(folder: Path) -> Path:
    """The files of the working tree that git would commit, as a repository of their own, at the smoke scale."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        # what is committed of other scales, or edited in params.yaml, is no part of this test
        left_out = ("data/results/", "figures/", "notebooks/rendered/", "dvc.lock", "params.yaml")
        if (paths.ROOT / name).is_file() and not name.startswith(left_out):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / name, folder / name)
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    vpstudy(folder, "scale", "smoke")
    return folder


def made(clone: Path) -> dict[str, bytes]:
    """Every file that the pipeline makes, and the outputs in dvc.lock."""
    files = [file for place in PRODUCED for file in (clone / place).rglob("*") if file.is_file()]
    locked = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    outs = {name: json.dumps(entry["outs"], sort_keys=True).encode() for name, entry in locked.items()}
    return {file.relative_to(clone).as_posix(): file.read_bytes() for file in files} | outs


def ran(said: str) -> list[str]:
    """The stages that a `dvc repro` ran."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage '")]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A clone in which plain `dvc repro` works on one core, beside what follows; with its process and what it says."""
    folder = clone_of_project(tmp_path_factory.mktemp("serial") / "clone")
    with (folder.parent / "said.txt").open("w+") as said:
        command = [sys.executable, "-m", "dvc", "repro"]
        options = {"cwd": folder, "env": environment(folder), "stdout": said, "stderr": said}
        with subprocess.Popen(command, start_new_session=True, **options) as process:
            yield folder, process, folder.parent / "said.txt"
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the stage at work


@pytest.fixture(scope="module")
def clone(serial, tmp_path_factory):
    """A clone in which the runner was killed again and again, and continued each time."""
    folder, chance, seen = clone_of_project(tmp_path_factory.mktemp("whole way") / "clone"), random.Random(0), set()
    command = [sys.executable, "-m", "pipeline.cli", "repro"]
    options = {"cwd": folder, "env": environment(folder), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(KILLS):
        with subprocess.Popen(command, start_new_session=True, **options) as process:
            # The moment is a number of new files, not of seconds: it comes on a busy machine, too.
            goal = chance.randrange(1, 12)
            while len(files := set((folder / "data").rglob("*")) - seen) < goal and process.poll() is None:
                time.sleep(0.05)
            time.sleep(chance.random() * 2)
            assert process.poll() is None, "it ended before it could be killed"
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
        seen |= files
        psutil.wait_procs(children)
    (folder / "dvc.lock").write_text("")  # as a kill of plain DVC may leave it
    vpstudy(folder, "repro")
    return folder


@pytest.fixture(scope="module")
def parameters(clone):
    return study.load(clone / "params.yaml")


def test_every_cell_has_its_result_and_its_page_and_nothing_is_to_do(clone, parameters):
    cells = [cell for cell in grid.cells(parameters) if cell.axes]
    assert results.read(cells, clone / "data" / "results").cells == cells
    for cell in cells:
        page = nbformat.read(clone / "data/notebooks/smoke" / f"{cell.file}.ipynb", as_version=4)
        assert all(output.output_type != "error" for c in page.cells for output in c.get("outputs", []))
    assert not results.read(grid.cells(parameters, "transfer"), clone / "data" / "results").orphans
    assert vpstudy(clone, "plan").stdout.endswith("stages are up to date\n")
    assert (clone / "scales/smoke/dvc.lock").read_bytes() == (clone / "dvc.lock").read_bytes()


def test_final_pages_show_their_figures_and_name_no_machine(clone):
    assert json.loads((clone / "data/results/smoke/claims.json").read_text())
    for page, name in (("90_hidden_cost", "hidden_cost"), ("91_vpns", "vpns"), ("92_qprompt", "qprompt"),
                       ("93_across", "across"), ("99_claims", "claims")):  # fmt: skip
        notebook = nbformat.read(clone / f"notebooks/rendered/smoke/{page}.ipynb", as_version=4)
        nbformat.validate(notebook)
        shown = [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
        assert len(shown) == len(list((clone / f"figures/smoke/{name}").glob("*.png")))
        assert str(clone) not in json.dumps(notebook)


def test_cells_declare_the_modules_that_their_kernels_import(clone, parameters):
    locked = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    # What reading params.yaml and the tables beside it import, in every kernel, to check and show names and settings.
    code = "import sys, studies.allowed; print(*(m.__file__ for m in [*sys.modules.values()] if " \
           "m.__name__.split('.')[0] in ('vpstudy', 'studies')), sep='\\n')"  # fmt: skip
    options = {"cwd": clone, "env": environment(clone), "capture_output": True, "text": True, "check": True}
    read = subprocess.run([sys.executable, "-c", code], **options).stdout.splitlines()
    read = {*fingerprints.FREE, *(Path(file).relative_to(clone).as_posix() for file in read)}
    for cell in grid.cells(parameters):
        imported = set(json.loads((clone / "data/timings/smoke" / f"{cell.name}.json").read_text())["modules"])
        declared = {dep["path"] for dep in locked[cell.name]["deps"]}
        for target in [dep for dep in declared if dep.startswith("data/targets/")]:  # lists of modules
            declared |= set(json.loads((clone / target).read_text()))
        listed = set(json.loads((clone / "data/code" / f"{cell.stage}.json").read_text()))
        assert imported - read <= declared | listed, cell.name


def test_two_runs_at_once_the_second_is_refused_at_once(clone):
    code = "import time; from pathlib import Path; from pipeline.stages import Stages\n"
    code += "with Stages(Path.cwd()).alone():\n    print('holds it', flush=True)\n    time.sleep(600)"
    holds = [sys.executable, "-c", code]
    with subprocess.Popen(holds, cwd=clone, env=environment(clone), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "holds it\n"
        for second in (vpstudy(clone, "repro", check=False), run(clone, "pipeline.alone", check=False)):
            assert second.returncode != 0
            assert second.stderr.startswith("another `vpstudy repro` or `dvc` command is at work here")
        first.kill()
    run(clone, "pipeline.alone")  # the very next one is not


@pytest.fixture
def mounted(tmp_path):
    """Mounts file systems, where this machine lets it, until the test has ended."""
    folders = []

    def mount(*words: str) -> Path:
        folder = tmp_path / f"mounted {len(folders)}"
        folder.mkdir()
        if subprocess.run(["mount", *words, str(folder)], capture_output=True).returncode:
            pytest.skip("this needs the right to mount a file system")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_checkout_is_one_clear_message(clone, mounted):
    folder = mounted("--bind", str(clone))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    for words in (["repro"], ["plan"], ["scale", "default"]):
        done = vpstudy(folder, *words, check=False)
        assert done.returncode == 2
        assert done.stderr == f"{folder} cannot be written to (Read-only file system), and results are kept there: " \
                              "use a clone of your own\n"  # fmt: skip


def test_a_full_disk_leaves_no_half_result(clone, mounted):
    folder = clone_of_project(mounted("-t", "tmpfs", "-o", "size=200m", "tmpfs"))
    vpstudy(folder, "plan")  # writes the lists of code
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - 300_000))
    done = vpstudy(folder, "repro", "source", check=False)
    assert done.returncode != 0 and "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((folder / "data").rglob(".*.tmp"))
    result = Path("data/results/smoke/backbones/source-cnn.json")
    for name, content in made(folder).items() if (folder / "dvc.lock").exists() else ():
        assert content == made(clone)[name]
    filler.unlink()
    for bytecode in list(folder.rglob("__pycache__")):  # which Python itself leaves cut on a full disk
        shutil.rmtree(bytecode)
    vpstudy(folder, "repro", "source")
    assert (folder / result).read_bytes() == (clone / result).read_bytes()


def test_killed_again_and_again_it_made_the_same_bytes_as_dvc_alone(clone, serial):
    folder, process, said = serial
    assert process.wait() == 0, said.read_text()
    names = ran(said.read_text())
    assert len(names) == len(set(names)) == len(grid.cells(study.load(folder / "params.yaml"))) + 1
    assert made(folder) == made(clone)


def test_nothing_runs_again_for_a_value_tried_in_jupyterlab_and_a_cell_forced_is_the_same_bytes(clone):
    assert ran(run(clone, "dvc", "repro").stdout) == []
    before, path = made(clone), clone / "notebooks/30_transfer.ipynb"
    text, notebook = path.read_text(), nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    cell.source, cell.execution_count = cell.source.replace("imp-0.95", "int4"), 7
    path.write_text(nbformat.writes(notebook))
    assert ran(run(clone, "dvc", "repro").stdout) == ["code"]
    path.write_text(text)
    name = "transfer@cnn-imp-0.50-digits"
    assert ran(run(clone, "dvc", "repro", "--force", "--single-item", name).stdout) == [name]
    assert made(clone) == before
