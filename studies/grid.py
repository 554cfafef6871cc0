"""Axes to cells: the stages that a set of parameters asks for, in an order in which they can run."""

from dataclasses import dataclass
from itertools import product

from studies.cells import Cell
from studies.parameters import Parameters


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml: its notebook, where its results belong, its matrix axes after the scale."""

    notebook: str
    study: str
    axes: tuple[str, ...] = ()


STAGES = {
    "pictures": Stage("12_pictures", "pictures", ("target",)),
    "source": Stage("10_source", "backbones", ("backbone",)),
    "weights": Stage("11_weights", "backbones", ("backbone",)),
    "imp": Stage("15_imp", "backbones", ("backbone",)),
    "compress": Stage("20_compress", "backbones", ("backbone", "compression")),
    "transfer": Stage("30_transfer", "hidden_cost", ("backbone", "compression", "target")),
    "prune_with_prompts": Stage("40_prune_with_prompts", "vpns", ("backbone", "target", "pruner")),
    "clip_source": Stage("50_clip_source", "qprompt", ("backbone",)),
    "prompt": Stage("51_prompt", "qprompt", ("backbone", "target", "prompter")),
    "protocol": Stage("52_protocol", "qprompt", ("backbone", "target", "protocol")),
    "multimodal": Stage("53_multimodal", "qprompt", ("backbone", "target")),
    "quantize_visual_prompt": Stage("60_quantized_visual_prompt", "across", ("backbone", "compression", "target")),
    "hidden_cost": Stage("90_hidden_cost", "hidden_cost"),
    "vpns": Stage("91_vpns", "vpns"),
    "qprompt": Stage("92_qprompt", "qprompt"),
    "across": Stage("93_across", "across"),
    "claims": Stage("99_claims", "claims"),
}


CHAIN = ("source", "imp")  # one after another, with few others beside them: each takes several cores


def threads(stage: str, parameters: Parameters) -> int:
    """CPU threads of a stage, and so the cores that it takes where stages run side by side."""
    execution = parameters.execution
    return execution.threads if stage in CHAIN else execution.cell_threads


def cell(stage: str, scale: str, *values: str) -> Cell:
    """The cell that a stage's command names, e.g. `transfer default cnn imp-0.80 digits`.

    Raises
    ------
    ValueError
        If there is no such stage or the number of values does not fit its axes.
    """
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is no stage; allowed: {', '.join(STAGES)}")
    axes = STAGES[stage].axes
    if len(values) != len(axes):
        raise ValueError(f"{stage} takes: {' '.join(('scale', *axes))}; given: {' '.join((scale, *values))}")
    return Cell(stage, STAGES[stage].study, scale, tuple(zip(axes, values, strict=True)))


def axes(parameters: Parameters, stage: str) -> dict[str, list[str]]:
    """The values of each axis of a stage."""
    vpns, backbones = parameters.vpns.axes, parameters.backbones
    values = {
        "backbone": backbones,
        "compression": parameters.compressions,
        "target": parameters.hidden_cost.axes.targets,
    }
    if stage == "pictures":
        values["target"] = parameters.fetched
    if stage in ("source", "imp"):
        values["backbone"] = parameters.pretrained
    if stage == "weights":
        values["backbone"] = parameters.outside
    if stage == "prune_with_prompts":
        values = {"backbone": vpns.backbones, "target": vpns.targets, "pruner": vpns.pruners}
    if stage == "clip_source":
        values["backbone"] = parameters.clips
    if stage == "prompt":
        q = parameters.qprompt.axes
        values = {"backbone": q.backbones, "target": q.targets, "prompter": q.prompters}
    if stage == "protocol":
        p = parameters.protocols.axes
        values = {"backbone": p.backbones, "target": p.targets, "protocol": p.names}
    if stage == "multimodal":
        values = {"backbone": parameters.multimodal.axes.backbones, "target": parameters.multimodal.axes.targets}
    if stage == "quantize_visual_prompt":
        across = parameters.across.axes
        values = {"backbone": across.backbones, "compression": across.compressions, "target": across.targets}
    return {axis: values[axis] for axis in STAGES[stage].axes}


def cells(parameters: Parameters, stage: str | None = None) -> list[Cell]:
    """Every cell of `stage`, or of all stages: each after those it depends on."""
    return [
        cell(name, parameters.scale, *combination)
        for name in STAGES
        if stage in (None, name)
        for combination in product(*axes(parameters, name).values())
    ]
