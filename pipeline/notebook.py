"""Run one notebook for one cell of the grid: papermill, a kernel in a fixed environment, a normalised page."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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


# Run after the last cell, and taken away again: files of the project that were imported, and the memory taken, KiB.
USED = """import json, resource, sys
json.dump({"modules": [module.__file__ for name, module in list(sys.modules.items())
                       if name.split(".")[0] in ("vpstudy", "studies") and getattr(module, "__file__", None)],
           "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}, sys.stdout)"""


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
    start = time.monotonic()
    running, failed = (job.logs / f"{job.output.stem}.{state}.ipynb" for state in ("running", "failed"))
    running.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="vpstudy-", ignore_cleanup_errors=True)))
        if not server:  # else many cells share one line of progress
            stack.enter_context(Relay(scratch / FILE))
        try:
            executed = _papermill(notebook, job, running, scratch, server, stopped)
        except NotebookError as error:
            os.replace(running, failed)
            raise NotebookError(f"{error}\n  the whole traceback: {failed}") from None
    printed = executed["cells"].pop()["outputs"]
    used = json.loads("".join(output["text"] for output in printed if output.get("name") == "stdout"))
    files = [Path(file).resolve() for file in used["modules"]]
    timing = {
        "seconds": round(time.monotonic() - start, 1),
        "peak_mib": round(used["peak"] / 2**10),
        "modules": sorted(file.relative_to(paths.ROOT).as_posix() for file in files if file.stem != "__init__"),
    }
    atomic.write_json(job.output, normalise.rendered(executed))  # as JupyterLab does
    running.unlink()
    failed.unlink(missing_ok=True)  # an earlier run's
    atomic.write_json(job.timing, timing)
    return timing


def _papermill(
    notebook: normalise.Notebook, job: Job, running: Path, scratch: Path, server: Any, stopped: Callable[[], bool]
) -> Any:
    import nbformat
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from pipeline.kernels import Provisioner, manager

    kernel = Provisioner(kernel_id="kernel")
    kernel.threads, kernel.folder, kernel.scratch, kernel.stopped = job.threads, job.folder, scratch, stopped
    kernel.server = server if server and server.threads == job.threads else None
    last = {"cell_type": "code", "id": "used", "metadata": {}, "source": USED, "outputs": [], "execution_count": None}
    try:
        return execute_notebook(
            nbformat.from_dict(notebook | {"cells": [*notebook["cells"], last]}),
            str(running).replace("{", "{{").replace("}", "}}"),  # papermill formats this path
            job.values,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=600,  # on a busy machine the first import takes long
            kernel_manager_class=manager(kernel),
            iopub_timeout=600,  # output may come long after the reply there
            shutdown_kernel="immediate",
            record_timing=False,
            store_widget_state=False,
        )
    except PapermillExecutionError as error:
        raise NotebookError(f"code cell {error.exec_count}: {error.ename}: {error.evalue}") from None
    except (DeadKernelError, RuntimeError) as error:
        if not isinstance(error, DeadKernelError) and "Kernel died" not in str(error):
            raise
        killed = kernel.exit_code == -9
        how = "was killed" if killed else f"died (exit code {kernel.exit_code})"
        message = f"the kernel {how} having taken {kernel.peak / 2**30:.1f} GiB of memory"
        printed = scratch / "output"
        said = printed.read_text(errors="replace")[-500:].strip() if printed.exists() else ""
        why = ", as happens where memory runs out" if killed else ""
        raise NotebookError("\n  ".join(filter(None, [message + why, said]))) from None


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
