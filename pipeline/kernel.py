"""The kernel that a cell's notebook runs in: this Python, a fixed environment, and what it used."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager

from pipeline import warm
from pipeline.environment import environment
from vpstudy import paths

# Asked of the kernel after the last cell, outside the notebook: peak memory, and which files of the project
# it imported.
USED = """__import__("json").dumps([
    [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
    if __import__("sys").platform == "linux"  # where ru_maxrss holds the parent's peak from before the fork, too
    else __import__("resource").getrusage(__import__("resource").RUSAGE_SELF).ru_maxrss,
    sorted(module.__file__ for name, module in list(__import__("sys").modules.items())
           if name.split(".")[0] == "vpstudy" and getattr(module, "__file__", None)),
])"""


class _ThisPython(KernelSpecManager):
    """Knows one kernel: the Python that runs the pipeline, whatever Jupyter has installed elsewhere."""

    threads = 1

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        cold = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=warm.arguments(self.threads) or cold, display_name="Python 3", language="python")


class _Client(PapermillNotebookClient):
    used: dict[str, Any] | None = None

    def __init__(self, manager: NotebookExecutionManager, scratch: Path, threads: int, **options: Any):
        super().__init__(manager, **options)
        self.scratch, self.threads = scratch, threads

    def create_kernel_manager(self) -> AsyncKernelManager:
        # Sockets in a folder of our own, not TCP ports: nobody else reaches them, and kernels started at the
        # same moment never compete for a port.
        specs = _ThisPython()
        specs.threads = self.threads
        self.km = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=specs,
            transport="ipc",
            connection_file=str(self.scratch / "kernel.json"),
        )
        return self.km

    def papermill_execute_cells(self) -> None:
        super().papermill_execute_cells()
        message = self.kc.execute("", silent=True, user_expressions={"used": USED})
        reply = self.wait_for_reply(message)["content"]
        if reply["status"] == "ok":  # else a cell has failed: papermill tells
            peak, files = json.loads(ast.literal_eval(reply["user_expressions"]["used"]["data"]["text/plain"]))
            modules = [Path(file).resolve().relative_to(paths.ROOT).as_posix() for file in files]
            modules = [module for module in modules if not module.endswith("__init__.py")]
            self.used = {"peak_mib": round(peak / 2**20), "modules": modules}


class Engine(NBClientEngine):
    """papermill's engine with that kernel; fills `used` with peak memory (MiB) and imported modules."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, *, scratch, threads, used, start_timeout, log_output=False, **_
    ):
        client = _Client(
            nb_man,
            scratch,
            threads,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            iopub_timeout=60,  # on a busy machine output may come long after the reply
            shutdown_kernel="immediate",
            record_timing=False,
            store_widget_state=False,
        )
        client.execute(env=environment(threads, scratch))
        used.update(client.used or {})
