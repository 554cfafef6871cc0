"""Run one notebook for one cell of the grid: papermill, a kernel in a fixed environment, a normalised page."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import normalise
from vpstudy import atomic, paths
from vpstudy.progress import FILE, Relay

# jsonschema, which papermill imports, compiles a grammar of internationalised addresses if this is installed, as
# JupyterLab sees to: four seconds, for a check that notebooks do not need.
sys.modules.setdefault("rfc3987_syntax", None)


class NotebookError(RuntimeError):
    """A cell of a notebook failed, or its kernel died."""


@dataclass(frozen=True)
class Job:
    """A notebook to run, with `values` for its parameters; `removed` are outputs of earlier runs to delete first."""

    name: str
    notebook: Path
    values: dict[str, Any]
    output: Path
    threads: int
    logs: Path
    timing: Path
    removed: tuple[Path, ...] = ()
    folder: Path = paths.NOTEBOOKS


def run(job: Job, server: Any = None, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Execute `job` and write the normalised page to its output, whole or not at all.

    Returns, and writes to `job.timing`, `seconds`, `peak_mib` of the kernel and `modules`, the files of the project
    that it imported. While it runs, and where it fails, the raw notebook is in `job.logs`. The kernel is forked by
    `server` if that has as many threads, and killed once `stopped`.

    Raises ValueError where names or types of values do not fit, before a kernel starts, and NotebookError where a cell
    fails or the kernel dies.
    """
    notebook = normalise.read(job.notebook)
    _check(notebook, job.values)
    for path in job.removed:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    start, used = time.monotonic(), {}
    running = job.logs / f"{job.output.stem}.running.ipynb"
    failed = job.logs / f"{job.output.stem}.failed.ipynb"
    running.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vpstudy-", ignore_cleanup_errors=True) as scratch:
        options = {"scratch": Path(scratch), "folder": job.folder, "threads": job.threads}
        options |= {"server": server if server and server.threads == job.threads else None}
        options |= {"stopped": stopped, "used": used}
        with nullcontext() if server else Relay(Path(scratch) / FILE):  # many cells share one line of progress
            try:
                executed = _papermill(notebook, job, running, options)
            except NotebookError as error:
                os.replace(running, failed)
                raise NotebookError(f"{error}\n  the whole traceback: {failed}") from None
    normalise.write(job.output, normalise.rendered(executed))
    running.unlink()
    failed.unlink(missing_ok=True)  # an earlier run's
    timing = {"seconds": round(time.monotonic() - start, 1), **{key: used[key] for key in ("peak_mib", "modules")}}
    atomic.write_json(job.timing, timing)
    return timing


def _papermill(notebook: normalise.Notebook, job: Job, running: Path, options: dict[str, Any]) -> Any:
    import nbformat
    from nbclient.exceptions import DeadKernelError
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from pipeline.kernels import Engine

    papermill_engines.register("vpstudy", Engine)
    try:
        return execute_notebook(
            nbformat.from_dict(notebook),
            str(running).replace("{", "{{").replace("}", "}}"),  # papermill formats this path
            job.values,
            engine_name="vpstudy",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            **options,
        )
    except PapermillExecutionError as error:
        raise NotebookError(f"code cell {error.exec_count}: {error.ename}: {error.evalue}") from None
    except (DeadKernelError, RuntimeError) as error:
        if not isinstance(error, DeadKernelError) and "Kernel died" not in str(error):
            raise
        code, peak = options["used"].get("exit_code"), options["used"].get("peak_mib", 0)
        how = "was killed" if code == -9 else f"died (exit code {code})"
        why = ", as happens where memory runs out" if code == -9 else ""
        printed = options["scratch"] / "output"
        last = printed.read_text(errors="replace")[-500:].strip() if printed.exists() else ""
        message = f"the kernel {how} having taken {peak / 1024:.1f} GiB of memory{why}"
        raise NotebookError("\n  ".join(filter(None, [message, last]))) from None


def _check(notebook: normalise.Notebook, values: dict[str, Any]) -> None:
    """Raise ValueError, naming every problem, where `values` do not fit the cell tagged `parameters`."""
    known, problems = normalise.parameters(notebook), []
    for name, value in values.items():
        if name not in known:
            problems.append(f"{name} is no parameter; allowed: {', '.join(known) or 'none'}")
        elif type(value).__name__ != known[name]:
            problems.append(f"{name} is {value!r}, of type {type(value).__name__}; allowed is {known[name]}")
    problems += [f"{name} has no value" for name in known if name not in values]
    if problems:
        raise ValueError("the cell tagged `parameters` does not fit:\n  " + "\n  ".join(problems))
