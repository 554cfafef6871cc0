"""One process that has imported torch and the like, and forks a kernel for each cell: imports are paid for once.

A kernel that starts cold imports for three to four seconds, and small cells do not compute much longer. Nothing of the
project is imported here, so that every cell still runs the code as it is at its start. Linux only: elsewhere a process
that has loaded numerical libraries must not be forked.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from pipeline.environment import environment

VARIABLE = "VPSTUDY_WARM"  # tells cells "THREADS SOCKET"
CLIENT = Path(__file__).with_name("warm_client.py")
PRELOADED = (
    "ipykernel.kernelapp",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "scipy.stats",
    "seaborn",
    "skimage.data",
    "sklearn.datasets",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
)


@contextlib.contextmanager
def kernels(threads: int) -> Iterator[dict[str, str]]:
    """Run the process while this is open; yields the environment variables that tell stages of it.

    It is for kernels of that many threads, a number that libraries read when they are imported. Yields nothing on
    other systems than Linux.
    """
    if sys.platform != "linux":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="vpstudy-", ignore_cleanup_errors=True) as folder:
        place = os.path.join(folder, "socket")
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.warm", place],
            env=environment(threads, Path(folder)),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the stages, which end their kernels
        )
        try:
            yield {VARIABLE: f"{threads} {place}"}
        finally:
            process.terminate()
            process.wait()


def arguments(threads: int) -> list[str] | None:
    """What starts a kernel in the process above, if there is one for `threads` threads."""
    count, _, place = os.environ.get(VARIABLE, "").partition(" ")
    if count != str(threads):
        return None
    # Without site-packages (-S) and variables (-I), so that the go-between itself starts at once.
    return [sys.executable, "-I", "-S", str(CLIENT), place, "-f", "{connection_file}"]


def serve(place: str) -> None:
    """Listen at `place`, import, then fork a kernel for each request until this process is ended."""
    _die_with_parent()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)  # early requests wait here
    shown, warnings.showwarning = (
        warnings.showwarning,
        lambda *_, **__: None,
    )  # said once for all, it would reach no page
    for module in PRELOADED:
        with contextlib.suppress(ImportError):  # what a cell needs and lacks, it says itself
            importlib.import_module(module)
    warnings.showwarning = shown
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended kernels need no one to wait for them
    while True:
        connection, _ = listener.accept()
        message, files, _, _ = socket.recv_fds(connection, 2**16, 2)
        while message and not message.endswith(b"\n") and (more := connection.recv(2**16)):
            message += more
        if message.endswith(b"\n") and os.fork() == 0:
            listener.close()
            _kernel(connection, json.loads(message), files)
        for file in files:
            os.close(file)
        connection.close()


def _kernel(connection: socket.socket, request: dict, files: list[int]) -> None:
    """Be the kernel that `request` asks for; ends this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent()
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.pop("JPY_PARENT_PID", None)  # the go-between, not the process that forked this one
    os.chdir(request["cwd"])
    # Of the project: it may have changed on disk since. Figures are shown by what is imported once there is a kernel.
    for name in [name for name in sys.modules if name.split(".")[0] in ("vpstudy", "matplotlib_inline")]:
        del sys.modules[name]
    sys.path[:] = request["path"] + [entry for entry in sys.path if entry not in request["path"]]

    def end_with_client() -> None:
        connection.recv(1)  # returns when the go-between is gone
        os._exit(1)

    threading.Thread(target=end_with_client, daemon=True).start()
    from ipykernel.kernelapp import IPKernelApp

    code = 0
    try:
        IPKernelApp.launch_instance(argv=request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    serve(sys.argv[1])
