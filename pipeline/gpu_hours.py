"""GPU hours of cells on backbones from elsewhere, by the pictures that they see; nothing is measured. Loads torch.

Counted are forward passes of single pictures through a backbone. A training step takes `STEP` of them a picture: one
forward and, as is usual, two for the backward pass. What small heads, prompts and metrics cost is left out, and so is
loading pictures. What several sparsities of OMP and IMP share is counted for each.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.passes import Passes, of_compress, of_prune, of_quantize, of_transfer
from pipeline.sizes import Size, size_of
from studies import grid
from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy.models import libraries as outside
from vpstudy.models.weights import OutsideWeights

TFLOPS = 300.0
ASSUMED = "about 30 % of the bf16 peak of an H100, 989 TFLOP/s dense"
COUNTED = {
    "compress": lambda p, axes: of_compress(p, axes["compression"]),
    "transfer": lambda p, axes: of_transfer(p.hidden_cost, axes["compression"], _size(p, axes)),
    "prune_with_prompts": lambda p, axes: of_prune(p.vpns, axes["pruner"], _size(p, axes)),
    "quantize_visual_prompt": lambda p, axes: of_quantize(p, _size(p, axes)),
}


def macs(entry: OutsideWeights, side: int) -> int:
    """Multiplications and additions, as pairs, of one picture (3, side, side). Nothing is computed, or fetched."""
    return _macs(entry.model_dump_json(), side)


@cache
def _macs(entry: str, side: int) -> int:
    architecture = outside.architecture(OutsideWeights.model_validate_json(entry))
    with torch.device("meta"), torch.no_grad():
        network = timm.create_model(architecture.timm, **architecture.arguments).eval()
        with FlopCounterMode(display=False) as counter:  # which counts each of a pair
            network(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() // 2


def _size(parameters: Parameters, axes: dict[str, str]) -> Size:
    return size_of(axes["target"], parameters.pictures.root)


def operations(parameters: Parameters, cells: Iterable[Cell]) -> Counter[str]:
    """Floating point operations by stage (two for a pair), of cells on backbones from elsewhere."""
    total: Counter[str] = Counter()
    for cell in cells:
        axes = dict(cell.axes)
        if cell.stage in COUNTED and axes["backbone"] in parameters.outside:
            seen: Passes = COUNTED[cell.stage](parameters, axes)
            entry = parameters.weights.root[axes["backbone"]]
            total[cell.stage] += sum(2 * macs(entry, side) * number for side, number in seen.items())
    return total


def table(parameters: Parameters, tflops: float) -> list[str]:
    """A line for each stage, their sum, and what is assumed."""
    cells = [c for c in grid.cells(parameters) if dict(c.axes).get("backbone") in parameters.outside]
    spent, counts = operations(parameters, cells), Counter(cell.stage for cell in cells)
    lines = [f"  {'on backbones from elsewhere':<30}{'cells':>7}{'PFLOP':>14}{'GPU hours':>12}"]
    rows = [(stage, counts[stage], spent[stage]) for stage in COUNTED if counts[stage]]
    rows.append(("all", sum(n for _, n, _ in rows), sum(spent.values())))
    for stage, number, flop in rows:
        hours = flop / (tflops * 1e12) / 3600
        lines.append(f"  {stage:<30}{number:>7}{_number(flop / 1e15):>14}{_number(hours):>12}")
    why = ASSUMED if tflops == TFLOPS else "as given"
    lines += [
        f"Assumed: {tflops:g} TFLOP/s in fact ({why}; --tflops changes it).",
        "Small networks, and fp32, reach less. Counted are passes through backbones; the rest comes on top.",
    ]
    targets = {axes["target"]: axes for cell in cells if "target" in (axes := dict(cell.axes))}
    unknown = sorted(name for name, axes in targets.items() if not _size(parameters, axes).known)
    if unknown:
        lines.append(f"Taken for as large as cifar10, as their sizes are not known here: {', '.join(unknown)}.")
    return lines


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"
