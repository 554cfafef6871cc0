"""Output of a cell of `across`: result, borders as stored, and their picture."""

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save as serialize
from scipy.special import softmax

from studies import results
from studies.across import strip
from studies.across.cell import QuantizeCell, Run
from studies.across.labels import label
from studies.rows import head, lost, means, png, row
from vpstudy import atomic, paths
from vpstudy.prompts.quantized import FixedBorder


def result(cell: QuantizeCell, runs: list[Run]) -> dict:
    """The result of a cell: everything that figures and tables read."""
    seed = cell.settings.seeds[0]
    facts = {
        "classes": cell.data.class_names,
        "pictures": {part: len(cell.indices(part, seed)) for part in ("train", "validation", "test")},
        "values": cell.size,
        "backbone_bytes": cell.compressed.facts()["bytes"],
        "tuning": cell.tuning,
    }
    identity = head(cell.cell, cell.runtime, across=cell.settings, visual_prompting=cell.prompting)
    return identity | {"facts": facts, "rows": [_row(cell, run) for run in runs]}


def files(cell: QuantizeCell, runs: list[Run]) -> None:
    """Write every stored border; with the first checkpoint, the picture of those shown, too."""
    stored = {}
    for run in runs:
        key = f"{run.method}/{run.seed}"
        if run.packed:
            stored |= {f"{key}/codes": run.packed.codes, f"{key}/book": run.packed.book}
        elif run.values is not None:
            stored[f"{key}/values"] = run.values.contiguous()
        output = {name: tensor for name, tensor in run.artefact.items() if not name.startswith("prompt.")}
        stored |= {f"{key}/{name}": tensor.clone().contiguous() for name, tensor in output.items()}
    axes = dict(cell.cell.axes)
    place = paths.MODELS / cell.cell.scale / axes["backbone"] / "quantized" / f"{axes['compression']}-{axes['target']}"
    atomic.write_bytes(place / f"{cell.checkpoint}.safetensors", serialize(stored))
    if not cell.checkpoint:
        shown = [*pictures(cell, runs).values()] or [cell.border().picture()]
        atomic.write_bytes(results.prompt_path(cell.cell), png(torch.cat(shown, dim=2)))


def pictures(cell: QuantizeCell, runs: list[Run]) -> dict[tuple[str, str, int], torch.Tensor]:
    """Borders (3, canvas, canvas) that figures show, by compression, arm and bits; black behind the picture."""
    rows = [{**vars(run), "status": "diverged" if run.logits is None else "ok"} for run in runs]
    inner, canvas = cell.prompting.chosen.inner, cell.prompting.canvas
    compression, seed = dict(cell.cell.axes)["compression"], cell.settings.seeds[0]
    book = strip.codebook(rows)
    kept = [run for run in runs if run.seed == seed and (run.arm != "ptq" or run.codebook == book)]
    values = {(run.arm, run.bits): run.values for run in kept}
    return {(compression, *key): FixedBorder(inner, canvas, values[key]).picture() for key in strip.shown(rows)}


def summary(result: dict) -> pd.DataFrame:
    """Mean accuracy and debiased ECE of every arm, over the seeds that finished, and its bytes."""
    table = means(result, lambda row: {"prompt": _label(row)})
    return table.assign(bytes=table["prompt"].map({_label(row): row["prompt_bytes"] for row in result["rows"]}))


def _label(row: dict) -> str:
    return label(row["arm"], row["codebook"], row["bits"])


def _row(cell: QuantizeCell, run: Run) -> dict:
    details = {key: getattr(run, key) for key in ("arm", "codebook", "bits", "rms", "refits", "learning_rate")}
    of = {"budget": cell.settings.budget, "seed": run.seed}
    if run.logits is None:
        return lost(run.method, run.reason, **of) | details | {"prompt_bytes": None}
    labels = cell.data.labels[torch.as_tensor(cell.indices("test", run.seed))].cpu().numpy()
    probabilities = softmax(run.logits.astype(float), axis=1).astype(np.float32)
    return row(run.method, probabilities, labels, **of) | details | {"prompt_bytes": cell.bytes(run)}
