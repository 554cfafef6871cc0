"""Run one notebook for one cell of the grid: papermill, a fixed environment, a normalised page."""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline import normalise, parameters_cell
from pipeline.session import stop_with_dvc
from vpstudy import atomic
from vpstudy.progress import FILE, Relay


class NotebookError(RuntimeError):
    """A cell of a notebook failed, or its kernel died; `failed` is the notebook as far as it came."""

    def __init__(self, message: str, failed: Path):
        super().__init__(f"{message}\n  the whole traceback: {failed}")
        self.failed = failed


def run(
    notebook: Path,
    parameters: dict[str, Any],
    output: Path,
    *,
    cwd: Path,
    threads: int,
    logs: Path,
    timing: Path,
) -> dict[str, Any]:
    """Execute `notebook` with `parameters` in `cwd` and write the normalised page to `output`, whole or not.

    `timing` gets (and this returns) `seconds`, `peak_mib` of the kernel and `modules`, the files of the
    project that it imported. While it runs, and where it fails, the raw notebook is in `logs`. The kernel
    never outlives this call, whether that ends, is interrupted or terminated.

    Raises ValueError where names or types of `parameters` do not fit, before a kernel starts, and
    NotebookError where a cell fails or the kernel dies.
    """
    filled = parameters_cell.fill(normalise.read(notebook), parameters)
    start, used = time.monotonic(), {}
    running = logs / f"{output.stem}.running.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(prefix="vpstudy-", ignore_cleanup_errors=True)
    with scratch as folder, Relay(Path(folder) / FILE), _terminable():
        executed = _execute(filled, running, cwd, threads, Path(folder), used)
    normalise.write(output, normalise.rendered(executed))
    running.unlink()
    _failed(running).unlink(missing_ok=True)  # an earlier run's
    record = {"seconds": round(time.monotonic() - start, 1), **used}
    atomic.write_json(timing, record)
    return record


def _execute(
    filled: normalise.Notebook, running: Path, cwd: Path, threads: int, scratch: Path, used: dict[str, Any]
) -> normalise.Notebook:
    # jsonschema compiles a grammar of internationalised addresses if this is installed, which JupyterLab sees
    # to: four seconds a notebook, for a check that notebooks do not need.
    sys.modules.setdefault("rfc3987_syntax", None)
    import nbformat
    from nbclient.exceptions import DeadKernelError
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from pipeline.kernel import Engine

    papermill_engines.register("vpstudy", Engine)
    try:
        return execute_notebook(
            nbformat.from_dict(filled),
            str(running).replace("{", "{{").replace("}", "}}"),  # papermill formats this path
            engine_name="vpstudy",
            kernel_name="python3",
            progress_bar=False,
            cwd=cwd,
            scratch=scratch,
            threads=threads,
            used=used,
        )
    except PapermillExecutionError as error:
        message = f"code cell {error.exec_count}: {error.ename}: {error.evalue}"
    except DeadKernelError:
        message = "the kernel died, as it does where memory runs out (MemoryError, or killed by the system)"
    os.replace(running, _failed(running))
    raise NotebookError(message, _failed(running))


def _failed(running: Path) -> Path:
    return running.with_name(running.name.removesuffix(".running.ipynb") + ".failed.ipynb")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, also the one sent when the `dvc` above dies, unwind the stack: so the kernel ends."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with stop_with_dvc():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
