"""Kernels of cells: this Python in a fixed environment, forked from a process that has imported torch and the like.

A kernel that starts cold imports for four seconds, and small cells do not compute much longer. Nothing of the project
is imported beforehand, so that every cell runs the code as it is at its start.
"""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from pipeline import kernel_process
from vpstudy import paths, progress

PRELOADED = (
    *("ipykernel.kernelapp", "pandas", "pydantic", "ruamel.yaml", "scipy.stats", "seaborn", "skimage.data"),
    *("sklearn.datasets", "timm", "torch", "torchvision", "tqdm"),
)

SLOW = "PYTHONDONTWRITEBYTECODE"  # makes imports compile again, for 12 s
KEPT = str(2**30)  # bytes


def environment(threads: int, scratch: Path) -> dict[str, str]:
    """The environment variables of a kernel: those of this process, and all that results may depend on."""
    count = str(threads)
    inherited = {k: v for k, v in os.environ.items() if k != SLOW}
    return inherited | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        # Threads wait a moment awake, then asleep: always asleep costs a fifth of the speed, always awake all of it
        # where anything else wants the cores.
        "GOMP_SPINCOUNT": "30000",
        # Freed memory stays with the kernel, which ends with its cell. Else each large tensor is asked of the system
        # anew: a quarter of a training step, and with the threshold that Dask sets for its workers more than half.
        "MALLOC_MMAP_THRESHOLD_": KEPT,
        "MALLOC_TRIM_THRESHOLD_": KEPT,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS is not deterministic
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # an exported `Agg` would lose figures
        "IPYTHONDIR": str(scratch),  # start-up files in a reader's profile must not change results
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, which libraries import: no page needs its widgets
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the debugger warns at every start
        progress.VARIABLE: str(scratch / progress.FILE),
    }


class ForkServer:
    """Forks kernels of `threads` threads, a number that libraries read when they are imported."""

    def __init__(self, threads: int, preloaded: tuple[str, ...] = PRELOADED):
        self.threads, self.preloaded, self._lock = threads, preloaded, threading.Lock()
        self._context: Any = None

    def fork(self, arguments: list[str], variables: dict[str, str], folder: str, output: str) -> "_Process":
        with self._lock:
            if self._context is None:
                self._start(variables)
        process = self._context.Process(target=kernel_process.forked, args=(arguments, variables, folder, output))
        process.start()
        return _Process(process)

    def _start(self, variables: dict[str, str]) -> None:
        # The server inherits the variables of this process, which does nothing else than run kernels.
        os.environ.update({k: v for k, v in variables.items() if k not in ("IPYTHONDIR", progress.VARIABLE)})
        os.environ.pop(SLOW, None)
        multiprocessing.current_process()._config["daemon"] = False  # Dask's workers are daemons: those may not fork
        warnings.filterwarnings("ignore", module="multiprocessing")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(self.preloaded))


class _Process:
    """A process of multiprocessing, as jupyter_client expects one."""

    stdin = stdout = stderr = None

    def __init__(self, process: Any):
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Provisioner(LocalProvisioner):
    """Starts a kernel of `threads` threads in `folder`, cold or forked by `server`, and watches it.

    It is killed once `stopped`; `peak` is the most memory that it was seen to take, bytes.
    """

    threads: int
    folder: Path
    scratch: Path
    server: ForkServer | None
    stopped: Callable[[], bool]
    peak = 0
    exit_code: int | None = None

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        options |= {"env": options["env"] | environment(self.threads, self.scratch), "cwd": str(self.folder)}
        if self.server is None:
            return await super().launch_kernel(cmd, **options)
        output = str(self.scratch / "output")
        self.process = self.server.fork(cmd[cmd.index("-f") :], options["env"], options["cwd"], output)
        self.pid = self.process.pid
        return self.connection_info

    async def poll(self) -> int | None:
        """Asked every second while a cell runs."""
        self.peak = max(self.peak, _peak(self.pid))
        if self.process and self.stopped():
            await self.kill()
        self.exit_code = await super().poll()
        return self.exit_code


def manager(provisioner: Provisioner) -> type[AsyncKernelManager]:
    """The manager of one kernel of this Python, whatever Jupyter has installed.

    Its sockets lie in a folder of our own and are no TCP ports: nobody else reaches them, and kernels that start at the
    same moment never compete for a port.
    """

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any):
            super().__init__(**options, transport="ipc", connection_file=str(provisioner.scratch / "kernel.json"))
            argv = [sys.executable, "-m", "pipeline.kernel_process", "-f", "{connection_file}"]
            self._kernel_spec = KernelSpec(argv=argv, display_name="Python 3", language="python")
            self.provisioner = provisioner
            provisioner.parent, provisioner.kernel_spec = self, self._kernel_spec

    return Manager


def _peak(pid: int | None) -> int:
    """The most memory that a process has taken, bytes; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
