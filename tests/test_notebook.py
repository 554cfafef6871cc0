import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline import notebook
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


def write(path: Path, *sources: str) -> Path:
    cells = [
        {
            "cell_type": "code",
            "id": str(i),
            "metadata": {},
            "source": s,
            "outputs": [],
            "execution_count": None,
        }
        for i, s in enumerate(('name = "a"  # who\nseed = 0', *sources))
    ]
    cells[0]["metadata"]["tags"] = ["parameters"]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def run(folder: Path, source: Path, **values) -> dict:
    """Everything that a run may write lies in `folder`."""
    return notebook.run(
        source,
        {"name": "b", "seed": 1} | values,
        folder / "out" / "page.ipynb",
        cwd=folder,
        threads=1,
        logs=folder / "logs",
        timing=folder / "timing.json",
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("{ran}")  # papermill formats paths: braces must survive
    return folder, run(folder, write(folder / "in.ipynb", PAGE))


def test_the_page_shows_the_parameters_and_what_ran(ran):
    folder, _ = ran
    page = json.loads((folder / "out" / "page.ipynb").read_text())
    parameters, cell = page["cells"]
    assert parameters["source"] == 'name = "b"  # who\nseed = 1'
    texts = [output.get("text") for output in cell["outputs"]]
    assert texts == [f"b 1 1 0 {folder}\n", "warned\n", None]
    assert cell["outputs"][2]["data"]["text/plain"] == "studies.cells.Cell"
    import nbformat  # papermill has imported it already

    nbformat.validate(nbformat.from_dict(page))


def test_seconds_memory_and_imported_modules_are_kept_beside_it(ran):
    folder, record = ran
    assert json.loads((folder / "timing.json").read_text()) == record
    assert record["modules"] == ["studies/cells.py", "vpstudy/progress.py"]
    assert 30 < record["peak_mib"] < 1000
    assert 0 < record["seconds"] < 300


def test_nothing_is_left_but_page_and_timing(ran):
    folder, _ = ran
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == ["in.ipynb", "out/page.ipynb", "timing.json"]


def test_two_runs_give_the_same_bytes(ran):
    folder, _ = ran
    first = (folder / "out" / "page.ipynb").read_bytes()
    run(folder, folder / "in.ipynb")
    assert (folder / "out" / "page.ipynb").read_bytes() == first


def test_parameters_that_do_not_fit_start_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "_execute", None)
    with pytest.raises(ValueError, match="seed is '1', of type str; allowed is int"):
        run(tmp_path, write(tmp_path / "in.ipynb"), seed="1")


def test_a_failing_cell_is_one_short_message_and_keeps_the_notebook(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "page.ipynb").write_text("an earlier page")
    with pytest.raises(notebook.NotebookError) as error:
        run(tmp_path, write(tmp_path / "in.ipynb", "print(1)", "1 / 0"))
    first, second = str(error.value).splitlines()
    assert first == "code cell 3: ZeroDivisionError: division by zero"
    assert second.endswith(str(tmp_path / "logs" / "page.failed.ipynb"))
    assert "1 / 0" in error.value.failed.read_text()
    assert (tmp_path / "out" / "page.ipynb").read_text() == "an earlier page"
    assert not (tmp_path / "timing.json").exists()


def test_a_killed_kernel_is_told_as_such(tmp_path):
    with pytest.raises(notebook.NotebookError, match="the kernel died"):
        run(tmp_path, write(tmp_path / "in.ipynb", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))


def test_no_kernel_outlives_its_runner(tmp_path):
    runners, path = [], os.pathsep.join([str(paths.ROOT), str(Path(__file__).parent)])
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            folder = tmp_path / number.name
            folder.mkdir()
            write(folder / "in.ipynb", "import os, time; print(file=open('pid', 'w')); time.sleep(600)")
            code = f"import test_notebook as t; p = t.Path({str(folder)!r}); t.run(p, p / 'in.ipynb')"
            runner = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
            runners.append((runner, number, folder))
        for runner, number, folder in runners:
            _wait_until((folder / "pid").exists)
            (kernel,) = psutil.Process(runner.pid).children()
            runner.send_signal(number)
            _wait_until(lambda kernel=kernel: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE)
            assert not (folder / "out").exists()
    finally:
        for runner, _, _ in runners:
            runner.kill()
            runner.wait()


def _wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
