"""The environment variables that a notebook's kernel runs with."""

import os
from pathlib import Path

from vpstudy import paths, progress


def environment(threads: int, scratch: Path) -> dict[str, str]:
    """The environment variables of a kernel: those of this process, and all that results may depend on."""
    path = os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")]))
    count = str(threads)
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # 12 s a kernel
    return inherited | {
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        # Threads wait a moment awake, then asleep: always asleep costs a fifth of the speed, always awake all of it
        # where anything else wants the cores.
        "GOMP_SPINCOUNT": "30000",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS is not deterministic
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # an exported `Agg` would lose figures
        "IPYTHONDIR": str(scratch),  # start-up files in a reader's profile must not change results
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, which libraries import: no page needs its widgets
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the debugger warns at every start
        progress.VARIABLE: str(scratch / progress.FILE),
    }
