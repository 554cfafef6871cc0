"""What runs inside a kernel's process. Imports nothing heavy: a forked kernel has its libraries already."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading


def die_with_parent() -> None:
    """Have Linux end this process when its parent dies, whatever ended that: nothing is left at work."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def forked(arguments: list[str], environment: dict[str, str], folder: str, output: str) -> None:
    """Be the kernel that `arguments` describe, in a process forked by multiprocessing's fork server."""
    die_with_parent()
    os.setsid()  # Ctrl-C is for the runner, which ends its kernels
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_worker, daemon=True).start()  # the parent is the server
    for number in (1, 2):  # what compiled code prints
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    os.environ.pop("JPY_PARENT_PID", None)
    os.chdir(folder)
    added = [entry for entry in environment["PYTHONPATH"].split(os.pathsep) if entry]
    sys.path[:] = [*added, *(entry for entry in sys.path if entry not in added)]
    # Figures are shown by what is imported once there is a kernel, and the project may have changed on disk.
    for name in [name for name in sys.modules if name.split(".")[0] in ("vpstudy", "studies", "matplotlib_inline")]:
        del sys.modules[name]
    if pandas := sys.modules.get("pandas"):  # which looks for a kernel when it is imported, for how it shows tables
        pandas.set_option("display.max_columns", 20)
    _launch(arguments)


def _end_with_worker() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _launch(arguments: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    code = 0
    try:
        IPKernelApp.launch_instance(argv=arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    die_with_parent()
    _launch(sys.argv[1:])
