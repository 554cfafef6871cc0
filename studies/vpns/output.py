"""The result and the files that a pruning cell writes, and pictures for its notebook."""

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save as serialize

from studies import results
from studies.figures.pictures import of_mapping
from studies.rows import head, lost, means, png, row
from studies.vpns.cell import PruneCell, Trained, probabilities
from studies.vpns.evidence import percent, treatment
from vpstudy import atomic, paths
from vpstudy.models.cost import macs


def result(cell: PruneCell, done: list[Trained]) -> dict:
    """The result that figures, tables and claims read."""
    seed, firsts = cell.settings.seeds[0], _firsts(cell, done)
    facts = {
        "classes": cell.data.class_names,
        "source_classes": cell.source.class_names,
        "mapping": cell.start(seed).mapping.tolist(),
        "evidence": cell.start(seed).estimate.evidence.tolist(),  # 0: no evidence for the class's source class
        "pictures": {part: len(cell.indices(part, seed)) for part in ("train", "validation", "test")},
        "tuning": cell.tuning,
        "emptied": {  # layers with no weight left, by sparsity and seed
            f"{one.sparsity:g} {one.seed}": [
                name for name, density in one.candidate.mask.layer_densities.items() if not density
            ]
            for one in done
            if one.arm == "main" and one.candidate
        },
        "layers": {f"{one.sparsity:g}": one.candidate.mask.layer_densities for one in firsts if one.sparsity},
        "networks": {f"{one.sparsity:g}": _size(cell, one) for one in firsts},
    }
    rows = [_row(cell, one, view) for one in done for view in _views(cell, one)]
    return head(cell.cell, cell.runtime, vpns=cell.settings) | {"facts": facts, "rows": rows}


def files(cell: PruneCell, done: list[Trained]) -> None:
    """Write probabilities, masks and prompts; with the first checkpoint, the prompt's picture, too."""
    tensors, artefacts = {}, {}
    for one in done:
        key = f"{one.arm}/{one.sparsity:g}/{one.seed}"
        for (part, view), logits in one.logits.items():
            tensors[f"{key}/{part}/{view}"] = torch.from_numpy(probabilities(logits).astype(np.float32))
            tensors[f"{key}/{part}/labels"] = torch.from_numpy(cell.labels(part, one.seed))
        if one.network is not None and one.network.prompt is not None:
            for name, tensor in one.network.prompt.state_dict().items():
                artefacts[f"{key}/prompt.{name}"] = tensor.cpu().contiguous()
    for one in _firsts(cell, done):
        artefacts |= one.candidate.mask.to_tensors(f"{one.arm}/{one.sparsity:g}/{one.seed}/mask.")
    axes, name = dict(cell.cell.axes), f"{cell.checkpoint}.safetensors"
    atomic.write_bytes(paths.PROBABILITIES / cell.cell.scale / cell.cell.file / name, serialize(tensors))
    atomic.write_bytes(cell.folder / "pruned" / f"{axes['target']}-{axes['pruner']}" / name, serialize(artefacts))
    if not cell.checkpoint:
        pictures = prompt_and_example(cell, done)
        picture = pictures[0] if pictures else cell.settings.make_prompt(0).picture()
        atomic.write_bytes(results.prompt_path(cell.cell), png(picture))


def summary(result: dict) -> pd.DataFrame:
    """Accuracy and debiased ECE of each arm, averaged over the seeds that finished."""
    return means(result, lambda row: {"arm": treatment(row["arm"], row["view"]), "pruned": percent(row["sparsity"])})


def mapping_pairs(cell: PruneCell) -> tuple[list, list[str], list, list[str]]:
    """Pictures and names of the target classes, then of the source classes they are mapped to."""
    run, size = cell.start(cell.settings.seeds[0]), cell.settings.canvas
    targets = [run.pictures[int((cell.data.labels == k).nonzero()[0])].cpu() for k in range(len(run.mapping))]
    sources = of_mapping(cell.source.class_names, run.mapping.tolist(), run.estimate.evidence.tolist(), size)
    return targets, cell.data.class_names, *sources


def prompt_and_example(cell: PruneCell, done: list[Trained]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Prompt and prompted test picture (3, canvas, canvas) in [0, 1]; first seed, highest sparsity that finished."""
    firsts = _firsts(cell, done)
    if not firsts or firsts[-1].network.prompt is None:
        return None
    prompt = firsts[-1].network.prompt.cpu().eval()
    picture = cell.start(firsts[-1].seed).pictures[cell.data.target.test[0]].cpu().float() / 255
    return prompt.picture(), prompt(picture[None])[0].detach()


def _firsts(cell: PruneCell, done: list[Trained]) -> list[Trained]:
    """Main runs of the first seed that finished, by rising sparsity."""
    return [one for one in done if one.arm == "main" and one.network and one.seed == cell.settings.seeds[0]]


def _size(cell: PruneCell, trained: Trained) -> dict:
    """MACs, parameters and sparsity; `in_use` leaves out classifier outputs without a class."""
    backbone, mask = trained.network.backbone.frozen(), trained.candidate.mask
    unmapped = len(cell.source.class_names) - len(cell.data.class_names)  # classifier outputs without a class
    unused = unmapped * (backbone.classifier.in_features + 1)
    others = sum(p.numel() for p in backbone.model.parameters()) - mask.size
    return {
        "macs": macs(backbone, cell.settings.canvas),
        "parameters": mask.kept + others,
        "parameters_in_use": mask.kept + others - unused,
        "sparsity": mask.sparsity,
        "sparsity_in_use": (mask.size - mask.kept) / (mask.size + others - unused),
    }


def _views(cell: PruneCell, trained: Trained) -> list[str]:
    """The views that a run was measured in; for a diverged run, those that were planned."""
    if not trained.reason:
        return [view for part, view in trained.logits if part == "test"]
    own = trained.arm in ("main", "source_mask") and cell.method.tuning_prompt
    also = trained.arm == "bn" and cell.method.finding_prompt
    prompted = own or also or trained.arm in ("prompted", "prompt_only", "prompt_after")
    return ["bare", "prompted"] if prompted else ["bare"]


def _row(cell: PruneCell, trained: Trained, view: str) -> dict:
    name, of = f"{trained.arm} {trained.sparsity:g} {view}", {"budget": cell.settings.budget, "seed": trained.seed}
    more = {"arm": trained.arm, "sparsity": trained.sparsity, "view": view}
    more |= {"factor": trained.factor, "passes": trained.passes}
    if trained.reason:
        return lost(name, trained.reason, **of) | more | {"collapsed": None}
    chances = probabilities(trained.logits["test", view])
    collapsed = len(set(chances.argmax(1).tolist())) == 1  # predicts one class for every picture
    return row(name, chances, cell.labels("test", trained.seed), **of) | more | {"collapsed": collapsed}
