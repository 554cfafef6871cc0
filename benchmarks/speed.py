"""The study's speed against plain ways, as ratios of one run: `python -m benchmarks.speed`, in under five minutes.

Ratios carry over to machines of the same kind; seconds do not. Exit code 1 if a wanted ratio is missed.
"""

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import report, ways
from benchmarks.timing import in_turns, ratio
from vpstudy import paths
from vpstudy.models.fused import fused
from vpstudy.runtime import Runtime, configure
from vpstudy.settings import Execution
from vpstudy.training.data import TransferData
from vpstudy.training.linear_probe import linear_probe
from vpstudy.training.settings import LinearProbe

FOLDER = paths.ROOT / "benchmarks" / "results"
ROUNDS = 7
PROBE_ROUNDS = 3  # each of some seconds
BUSY = 3.0  # load average from which other work disturbs the measurement
BATCH = 32
EPOCHS = 100  # of the linear probe
PROBE_BATCH = 128
SHORT, LONG = 1, 4  # epochs of the recomputing probe that are measured
WANTED_CPU = {"resnet18": 3.0, "mobilenetv2_100": 2.0}  # where bf16 has units of its own
WANTED_GPU = 2.0
WANTED_PROBE = 20.0


def prompting(name: str, runtime: Runtime) -> list[dict]:
    """A training step of a border of 48 px around 128 px, at 224 px: whole, and what of it precision gives."""
    backbone = ways.random_backbone(name).frozen().to(runtime.device)
    sizes = {"batch": BATCH, "inner": 128, "canvas": 224}
    quick = ways.work(fused(backbone, 224), runtime, **sizes)
    in_fp32 = Runtime(runtime.device, "fp32", runtime.threads)
    timed = {
        "study": ways.study_step(quick, runtime),
        "study, fp32": ways.study_step(quick, in_fp32),
        "plain": ways.plain_step(ways.work(backbone, runtime, **sizes)),
    }
    times = in_turns(timed, ROUNDS, f"visual prompt, {name}")
    wanted = WANTED_GPU if runtime.device.type == "cuda" else WANTED_CPU[name]
    step = f"prompt step, {name}, 224 px"
    whole = _row(f"{step}: plain fp32 / study", times["plain"], times["study"])
    return [
        whole | {"wanted": wanted if runtime.precision == "bf16" else None},
        _row(f"{step}: plain fp32 / study in fp32", times["plain"], times["study, fp32"]),
    ]


def probing(backbone: str, target: str, size: int, runtime: Runtime) -> dict:
    """A linear probe of 100 epochs: features once against features each epoch, in the same precision.

    The recomputing way is measured for one epoch and for four; their difference tells what an epoch takes.
    """
    made = ways.random_backbone(backbone)

    def data() -> TransferData:  # with nothing cached but the pictures
        return TransferData(target, 20, runtime)

    per_epoch = -(-len(data().split("all", 0).train) // PROBE_BATCH)

    def settings(epochs: int) -> LinearProbe:
        schedule = {"steps": epochs * per_epoch, "batch": PROBE_BATCH, "learning_rates": [0.01], "evaluations": 1}
        return LinearProbe(**schedule, size=size, inner=None)

    timed = {
        "cached": lambda: linear_probe(made, data(), "all", 0, settings(EPOCHS)),
        "short": lambda: ways.recomputing_probe(made, data(), settings(SHORT)),
        "long": lambda: ways.recomputing_probe(made, data(), settings(LONG)),
    }
    times = in_turns(timed, PROBE_ROUNDS, f"linear probe, {backbone}")
    scaled = [
        short + (long - short) / (LONG - SHORT) * (EPOCHS - SHORT)
        for short, long in zip(times["short"], times["long"], strict=True)
    ]
    what = f"linear probe, {backbone}, {target}, {size} px, {EPOCHS} epochs"
    return _row(f"{what}: features each epoch ({LONG} measured, scaled) / once", scaled, times["cached"])


def fusing(runtime: Runtime) -> dict:
    """A prompt's step at the embedded scale, with BatchNorm in the convolutions and beside them."""
    backbone = ways.random_backbone("cnn", classes=100).frozen().to(runtime.device)
    both = {"fused": fused(backbone), "as it is": backbone}
    works = {k: ways.work(b, runtime, batch=64, inner=20, canvas=32) for k, b in both.items()}
    steps = {name: ways.study_step(each, runtime) for name, each in works.items()}
    timed = {name: lambda step=step: [step() for _ in range(5)] for name, step in steps.items()}  # long enough to time
    times = in_turns(timed, 2 * ROUNDS, "fused cnn")
    return _row("prompt step, cnn, 32 px, fp32, one thread: as it is / fused", times["as it is"], times["fused"])


def machine(runtime: Runtime) -> dict:
    """What ratios depend on: versions, instruction sets, threads."""
    units = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx_bf16": torch.cpu._is_amx_tile_supported()}
    versions = {name: version(name) for name in ("torch", "timm", "numpy")} | {"python": platform.python_version()}
    return runtime.record() | {
        "versions": versions,
        "cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "bf16_units": [name for name, there in units.items() if there],
        "gpu": torch.cuda.get_device_name() if runtime.device.type == "cuda" else None,
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__.split(":")[0])
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="FOLDER", help="for speed.json and speed.md")
    parser.add_argument(
        "--figures", type=Path, default=paths.FIGURES / "benchmarks", metavar="FOLDER", help="for the figure"
    )
    options = parser.parse_args(words)
    runtime = configure(Execution(device="auto", precision="auto", threads=2, cell_threads=2))
    loads = [os.getloadavg()[0]]
    rows = [row for name in WANTED_CPU for row in prompting(name, runtime)]
    rows.append(probing("resnet18", "faces", 224, runtime) | {"wanted": WANTED_PROBE})
    torch.set_num_threads(1)  # as cells of the embedded scale run, side by side
    in_fp32 = Runtime(runtime.device, "fp32", 1)
    rows += [probing("cnn", "digits", 32, in_fp32), fusing(in_fp32)]
    loads.append(os.getloadavg()[0])
    result = machine(runtime) | {"load_average": [round(load, 2) for load in loads], "rows": rows}
    report.write(result, options.results, options.figures)
    print((options.results / "speed.md").read_text())
    if max(loads) > BUSY:
        print(f"the load average was {max(loads):.1f}: other work disturbed this run; repeat it on a quiet machine")
    missed = [row["name"] for row in rows if row["wanted"] and row["ratio"] < row["wanted"]]
    for name in missed:
        print(f"below what is wanted: {name}")
    return 1 if missed else 0


def _row(name: str, slow: list[float], fast: list[float]) -> dict:
    seconds = {"seconds_slow": round(statistics.median(slow), 4), "seconds_fast": round(statistics.median(fast), 4)}
    return {"name": name, "wanted": None} | ratio(slow, fast) | seconds


if __name__ == "__main__":
    sys.exit(main())
