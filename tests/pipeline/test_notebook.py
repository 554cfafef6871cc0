"""One notebook through papermill, in kernels that start cold and that are forked: pages, times, failures, ends."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

from pipeline import notebook
from pipeline.kernels import ForkServer
from vpstudy import paths

PAGE = """
import os, sys
import studies.cells
from vpstudy.progress import track
print(name, seed, os.environ["OMP_NUM_THREADS"], os.environ["PYTHONHASHSEED"], os.getcwd())
for _ in track(range(3), "three"):
    pass
print("warned", file=sys.stderr)
studies.cells.Cell
"""
FIGURE = """
import torch
from IPython.display import display
from matplotlib import pyplot as plt
figure, axes = plt.subplots()
axes.plot([0, 1])
display(figure)
plt.close(figure)
print(torch.get_num_threads())
import pandas as pd
print(pd.DataFrame(0, index=[0], columns=[f"a column with a name {n}" for n in range(12)]))
"""
WAITS = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"


@pytest.fixture(scope="module", params=["cold", "forked"])
def server(request):
    if request.param == "forked" and sys.platform != "linux":
        pytest.skip("only on Linux may a process that has loaded numerical libraries be forked")
    before = dict(os.environ)
    yield ForkServer(1) if request.param == "forked" else None
    os.environ.clear()  # the server leaves its own there
    os.environ.update(before)


def job(folder: Path, *sources: str, **values) -> notebook.Job:
    """A notebook of these cells; everything that a run of it may write lies in `folder`."""
    cells = [nbformat.v4.new_code_cell(source) for source in ('name = "a"  # who\nseed = 0', *sources)]
    cells[0].metadata.tags = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "in.ipynb")
    given = {"name": "b", "seed": 1} | values
    places = {"output": folder / "out/page.ipynb", "logs": folder / "logs", "timing": folder / "timing.json"}
    return notebook.Job("cell", folder / "in.ipynb", given, threads=1, folder=folder, **places)


def outputs(page: Path) -> list:
    return [output for cell in json.loads(page.read_text())["cells"] for output in cell["outputs"]]


def wait_for(condition):
    while not condition():
        time.sleep(0.05)


def test_pages_show_what_ran_and_are_the_same_cold_and_forked(tmp_path, server):
    folder = tmp_path / "{papermill formats paths}"
    folder.mkdir()
    made = job(folder, PAGE, FIGURE)
    timing = notebook.run(made, server)
    printed, warned, shown, figure, threads = outputs(made.output)
    assert printed["text"] == f"b 1 1 0 {folder}\n" and warned["text"] == "warned\n"
    assert threads["text"].startswith("1\n")
    assert shown["data"]["text/plain"] == "studies.cells.Cell" and "image/png" in figure["data"]
    nbformat.validate(nbformat.read(made.output, as_version=4))
    assert json.loads(made.timing.read_text()) == timing
    assert timing["modules"] == ["studies/cells.py", "vpstudy/progress.py"]
    assert timing["peak_mib"] > 30
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == ["in.ipynb", "out/page.ipynb", "timing.json"]
    if server:
        first = made.output.read_bytes()
        notebook.run(made)  # cold
        assert made.output.read_bytes() == first


def test_parameters_that_do_not_fit_start_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "_papermill", None)
    with pytest.raises(ValueError, match="does not fit") as error:
        notebook.run(job(tmp_path, seed="1", sead=0))
    assert "seed is '1', of type str; allowed is int" in str(error.value)
    assert "sead is no parameter; allowed: name, seed" in str(error.value)


def test_a_failing_cell_is_one_short_message_and_keeps_the_notebook(tmp_path, server):
    made = job(tmp_path, "print(1)", "1 / 0")
    made.output.parent.mkdir()
    made.output.write_text("an earlier page")
    with pytest.raises(notebook.NotebookError) as error:
        notebook.run(made, server)
    first, second = str(error.value).splitlines()
    assert "ZeroDivisionError: division by zero" in first
    assert second.endswith(str(tmp_path / "logs/page.failed.ipynb"))
    assert "1 / 0" in (tmp_path / "logs/page.failed.ipynb").read_text()
    assert made.output.read_text() == "an earlier page"
    assert not made.timing.exists()


def test_outputs_of_an_earlier_run_are_removed_first(tmp_path, server):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").touch()
    made = replace(job(tmp_path, "import os\nprint(os.path.exists('folder'))"), removed=(tmp_path / "folder",))
    notebook.run(made, server)
    assert outputs(made.output)[0]["text"] == "False\n"


def test_a_kernel_killed_for_its_memory_is_told_with_what_it_took(tmp_path, server):
    code = """
import os, signal, time
block = bytearray(400 * 2**20)
block[::4096] = b"1" * len(block[::4096])
open("taken", "w").close()
while not os.path.exists("measured"):
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
    looks = []

    def look() -> bool:
        """Asked after each measurement: the second one that sees the file was made with the memory taken."""
        if (tmp_path / "taken").exists():
            looks.append("the memory is taken")
        if len(looks) > 1:
            (tmp_path / "measured").touch()
        return False

    with pytest.raises(notebook.NotebookError, match=r"the kernel was killed having taken 0\.[4-9] GiB of memory"):
        notebook.run(job(tmp_path, code), server, look)
    with pytest.raises(notebook.NotebookError, match=r"the kernel died \(exit code 3\)"):
        notebook.run(job(tmp_path, "import os; os._exit(3)"), server)


def test_a_kernel_ends_when_it_is_not_wanted_any_more(tmp_path, server):
    made = job(tmp_path, WAITS)
    with pytest.raises(notebook.NotebookError, match="the kernel was killed"):
        notebook.run(made, server, (tmp_path / "pid").exists)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_kernel_outlives_its_runner(tmp_path, server, number):
    job(tmp_path, WAITS)
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_notebook as t
if __name__ == "__main__":
    t.notebook.run(t.job(Path({str(tmp_path)!r}), t.WAITS), {"t.ForkServer(1, ())" if server else None})
"""
    (tmp_path / "script.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    with subprocess.Popen([sys.executable, tmp_path / "script.py"], env=environment) as runner:
        pid = tmp_path / "pid"
        wait_for(lambda: (pid.exists() and pid.read_text()) or runner.poll() is not None)
        kernel = psutil.Process(int(pid.read_text()))
        runner.send_signal(number)
    psutil.wait_procs([kernel])
    assert not (tmp_path / "out").exists()
