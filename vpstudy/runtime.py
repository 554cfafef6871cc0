"""Device, precision, threads and random seeds."""

import contextlib
import os
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from vpstudy.settings import Execution


@dataclass(frozen=True)
class Runtime:
    """Resolved settings of torch. `precision` is "fp32" or "bf16" (autocast; weights stay fp32)."""

    device: torch.device
    precision: str
    threads: int

    def autocast(self):
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def record(self) -> dict:
        return {"device": self.device.type, "precision": self.precision, "threads": self.threads}


def configure(execution: Execution, chain: bool = False) -> Runtime:
    """Set up deterministic torch and resolve "auto". Raises ValueError if CUDA is requested but missing.

    `chain` marks stages of a chain (pretraining, iterative pruning); few run at once, so these use `execution.threads`.
    """
    if execution.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("execution.device: 'cuda' was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    device = execution.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = execution.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16_units(device) else "fp32"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for deterministic cuBLAS
    threads = execution.threads if chain else execution.cell_threads
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # It would also fill all new memory, a sixth of a training step, for code that reads what it never wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return Runtime(torch.device(device), precision, threads)


def _has_bf16_units(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def seed_for(purpose: str, *parts: int | str) -> int:
    """Seed for one purpose, so that split, initialisation and order never share a random stream.

    Give seeds, replicates and names as `parts` of their own: sums of them would be the same for different pairs.
    """
    key = [zlib.crc32(str(part).encode()) for part in (purpose, *parts)]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(purpose: str, *parts: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(purpose, *parts))
