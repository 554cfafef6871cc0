"""Output of a transfer cell: result, probabilities, learned tensors, and the picture of its prompt."""

import pandas as pd
import torch
from safetensors.torch import save as serialize

from studies import results
from studies.figures import style
from studies.figures.pictures import of_mapping
from studies.hidden_cost.cell import TransferCell
from studies.rows import head, lost, means, png, row
from vpstudy import atomic, paths
from vpstudy.calibration import temperature
from vpstudy.calibration.legacy import legacy_ece
from vpstudy.calibration.metrics import debiased_ece, expected_calibration_error, negative_log_likelihood
from vpstudy.training.outcome import Outcome
from vpstudy.training.visual_prompting import mapping_of

LEGACY_BATCH = 256  # test pictures per batch, on which the legacy ECE depends; the paper's largest


def pictures(cell: TransferCell) -> dict:
    """Number of pictures for training at each budget, for validation and for test."""
    budgets = cell.settings.budgets
    held_out = {part: cell.pictures(budgets[0], part) for part in ("validation", "test")}
    return {"train": {str(budget): cell.pictures(budget) for budget in budgets}} | held_out


def result(cell: TransferCell, outcomes: list[Outcome]) -> dict:
    """The result of a cell: everything that figures, tables and claims read."""
    facts = {
        "classes": cell.data.class_names,
        "source_classes": cell.compressed.backbone.class_names,
        "pictures": pictures(cell),
        "tuning": cell.tuning,
    }
    rows = [_row(cell, outcome) for outcome in outcomes]
    return head(cell.cell, cell.runtime, hidden_cost=cell.settings) | {"facts": facts, "rows": rows}


def files(cell: TransferCell, outcomes: list[Outcome]) -> None:
    """Write probabilities and learned tensors; with the first checkpoint, the prompt's picture, too."""
    probabilities, artefacts = {}, {}
    for outcome in outcomes:
        key = f"{outcome.method}/{outcome.budget}/{outcome.seed}"
        for part, values in outcome.probabilities.items():
            probabilities[f"{key}/{part}"] = torch.from_numpy(values)
            probabilities[f"{key}/{part}/labels"] = torch.from_numpy(cell.labels(part, outcome))
        if outcome.method != "fine_tuning":  # whole models: large, and quick to retrain
            artefacts |= {f"{key}/{name}": tensor.contiguous() for name, tensor in outcome.artefact.items()}
    scale, axes, name = cell.cell.scale, dict(cell.cell.axes), f"{cell.checkpoint}.safetensors"
    atomic.write_bytes(paths.PROBABILITIES / scale / cell.cell.file / name, serialize(probabilities))
    place = paths.MODELS / scale / axes["backbone"] / "adapted" / f"{axes['compression']}-{axes['target']}"
    atomic.write_bytes(place / name, serialize(artefacts))
    if not cell.checkpoint:
        atomic.write_bytes(results.prompt_path(cell.cell), png(cell.prompt(cell.prompted(outcomes)).picture()))


def _row(cell: TransferCell, outcome: Outcome) -> dict:
    of = {"budget": outcome.budget, "seed": outcome.seed}
    more = {"chosen": None, "mapping": None, "evidence": None, "unscaled": None}
    more |= {"learning_rate": outcome.learning_rate, "steps": outcome.steps}
    if outcome.status != "ok":
        return lost(outcome.method, outcome.reason, **of) | more
    measured = row(outcome.method, outcome.probabilities["test"], cell.labels("test", outcome), **of)
    metrics, more["unscaled"] = _scaled(cell, outcome)
    measured["metrics"] |= metrics
    more["chosen"] = outcome.chosen
    if outcome.method in ("mapping_only", "visual_prompting"):
        more["mapping"] = mapping_of(outcome.artefact).tolist()
        more["evidence"] = outcome.artefact["evidence"].tolist()  # 0: no evidence for the class's source class
    return measured | more


def _scaled(cell: TransferCell, outcome: Outcome) -> tuple[dict[str, float], str | None]:
    """The quantity that the paper's code logs, and calibration after temperature scaling; or why nothing is scaled.

    Validation is balanced and the test set may not be, so pictures are weighted by the class shares of the pool that
    training and validation are drawn from. Test labels are not used.
    """
    logits, labels, held_out = outcome.logits["test"], cell.labels("test", outcome), cell.labels("validation", outcome)
    weights = temperature.class_weights(held_out, cell.data.class_shares)
    fitted, problem = temperature.fit_temperature(outcome.logits["validation"], held_out, weights)
    scaled = temperature.apply(logits, fitted)
    return {
        "legacy_ece": legacy_ece(logits, labels, LEGACY_BATCH),
        "temperature": fitted,
        "ece_scaled": expected_calibration_error(scaled, labels),
        "ece_debiased_scaled": debiased_ece(scaled, labels),
        "nll_scaled": negative_log_likelihood(scaled, labels),
    }, problem


def prompt_and_example(cell: TransferCell, outcomes: list[Outcome]) -> tuple[torch.Tensor, torch.Tensor]:
    """The learned prompt and a prompted test picture, both (3, canvas, canvas) in [0, 1]."""
    prompt = cell.prompt(cell.prompted(outcomes))
    picture = cell.data.pictures(prompt.inner)[cell.data.target.test[0]].cpu().float() / 255
    return prompt.picture(), prompt(picture[None])[0].detach()


def mapping_pairs(cell: TransferCell, outcomes: list[Outcome]) -> tuple[list, list[str], list, list[str]]:
    """For each target class: a picture, its name, a picture of its source class, and that name."""
    shown, size = cell.prompted(outcomes), cell.settings.visual_prompting.canvas
    if not shown:
        return [], [], [], []
    mapping, evidence = mapping_of(shown.artefact).tolist(), shown.artefact["evidence"].tolist()
    targets = [cell.data.pictures(size)[int((cell.data.labels == k).nonzero()[0])].cpu() for k in range(len(mapping))]
    sources = of_mapping(cell.compressed.backbone.class_names, mapping, evidence, size)
    return targets, cell.data.class_names, *sources


def summary(result: dict) -> pd.DataFrame:
    """Mean accuracy and debiased ECE by method and budget, over the seeds that finished."""
    return means(result, lambda row: {"method": style.method(row["method"]).label, "pictures per class": row["budget"]})
