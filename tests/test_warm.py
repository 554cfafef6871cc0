"""Kernels forked from a warm process: the same pages as cold ones, by the code as it is, and none outlives its cell."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from test_notebook import PAGE, run, write

from pipeline import warm
from vpstudy import paths

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")


FIGURE = """
from IPython.display import display
from studies.figures import style
figure, _ = style.new_figure(1, 1, 1.0)
display(figure)
figure
"""


@pytest.fixture(scope="module")
def warmed():
    with warm.kernels(1) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables[warm.VARIABLE].split()[1]


def servers(place):
    return [p for p in psutil.process_iter(["cmdline"]) if "pipeline.warm" in (p.info["cmdline"] or [])
            and place in p.info["cmdline"]]  # fmt: skip


def test_pages_and_modules_are_those_of_a_cold_kernel(warmed, tmp_path, monkeypatch):
    source = write(tmp_path / "in.ipynb", PAGE, "import torch\nprint(torch.get_num_threads())", FIGURE)
    pages, modules = [], []
    for _ in range(2):
        modules.append(run(tmp_path, source)["modules"])
        pages.append((tmp_path / "out/page.ipynb").read_bytes())
        monkeypatch.delenv(warm.VARIABLE, raising=False)
    assert pages[0] == pages[1]
    assert b"image/png" in pages[0]
    assert modules[0] == modules[1] and "studies/cells.py" in modules[0]


def test_another_number_of_threads_starts_cold(warmed):
    assert warm.arguments(1) and warm.arguments(2) is None


def test_heavy_imports_are_there_and_the_project_s_are_not(warmed, tmp_path):
    code = "import sys\nassert {'torch', 'timm', 'seaborn'} <= set(sys.modules), 'cold'\n"
    code += "assert not any(name.startswith(('studies', 'vpstudy.compression')) for name in sys.modules)"
    run(tmp_path, write(tmp_path / "in.ipynb", code))


def test_a_kernel_that_dies_ends_its_cell_and_the_next_one_runs(warmed, tmp_path):
    from pipeline.notebook import NotebookError

    with pytest.raises(NotebookError, match="the kernel died"):
        run(tmp_path, write(tmp_path / "in.ipynb", "import os\nos._exit(1)"))
    run(tmp_path, write(tmp_path / "in.ipynb", "1"))


def test_without_a_process_to_ask_a_kernel_starts_cold(tmp_path, monkeypatch):
    monkeypatch.setenv(warm.VARIABLE, f"1 {tmp_path / 'nobody'}")
    run(tmp_path, write(tmp_path / "in.ipynb", "1"))
    assert json.loads((tmp_path / "timing.json").read_text())["seconds"] > 0


def test_no_kernel_outlives_its_cell_or_the_process_it_came_from(warmed, tmp_path):
    write(tmp_path / "in.ipynb", "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    code = f"""
import sys
sys.path.insert(0, {str(paths.ROOT / "tests")!r})
from pathlib import Path
from test_notebook import run
run(Path({str(tmp_path)!r}), Path({str(tmp_path / "in.ipynb")!r}))
"""
    cell = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel = psutil.Process(int((tmp_path / "pid").read_text()))
    assert kernel.ppid() in [p.pid for p in servers(warmed)]
    cell.send_signal(signal.SIGKILL)
    cell.wait()
    gone, alive = psutil.wait_procs([kernel], timeout=20)
    assert gone and not alive


def test_the_process_ends_with_its_use():
    with warm.kernels(1) as variables:
        place = variables[warm.VARIABLE].split()[1]
        deadline = time.monotonic() + 20
        while not servers(place) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert servers(place)
    assert not servers(place)
    assert not os.path.exists(place)
