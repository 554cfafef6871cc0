"""Axes to cells: the stages of dvc.yaml that a set of parameters asks for, in an order in which they can run."""

from dataclasses import dataclass
from functools import cache, reduce
from itertools import product

import yaml

from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy import paths


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml: its notebook, and the study that its results belong to."""

    notebook: str
    study: str


STAGES = {
    "pictures": Stage("12_pictures", "pictures"),
    "source": Stage("10_source", "backbones"),
    "weights": Stage("11_weights", "backbones"),
    "imp": Stage("15_imp", "backbones"),
    "compress": Stage("20_compress", "backbones"),
    "transfer": Stage("30_transfer", "hidden_cost"),
    "prune_with_prompts": Stage("40_prune_with_prompts", "vpns"),
    "clip_source": Stage("50_clip_source", "qprompt"),
    "prompt": Stage("51_prompt", "qprompt"),
    "protocol": Stage("52_protocol", "qprompt"),
    "multimodal": Stage("53_multimodal", "qprompt"),
    "quantize_visual_prompt": Stage("60_quantized_visual_prompt", "across"),
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


@cache
def _matrices() -> dict[str, dict[str, str]]:
    """The matrix of each stage in dvc.yaml: its axes, and the parameter that each takes its values from."""
    stages = yaml.safe_load(paths.STAGES.read_text(encoding="utf-8"))["stages"]
    return {
        name: {axis: source.removeprefix("${").removesuffix("}") for axis, source in stage.get("matrix", {}).items()}
        for name, stage in stages.items()
    }


def is_final(stage: str) -> bool:
    """Whether a stage has no axes: it reads the results of others, and its notebook is committed."""
    return not _matrices()[stage]


def axes(parameters: Parameters, stage: str) -> dict[str, list[str]]:
    """The values of each axis of a stage."""
    return {axis: reduce(getattr, key.split("."), parameters) for axis, key in _matrices()[stage].items()}


def cell(stage: str, scale: str, *values: str) -> Cell:
    """The cell that a stage's command names, e.g. `transfer default cnn imp-0.80 digits`.

    Raises
    ------
    ValueError
        If there is no such stage or the number of values does not fit its axes.
    """
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is no stage; allowed: {', '.join(STAGES)}")
    names = _matrices()[stage]
    if len(values) != len(names):
        raise ValueError(f"{stage} takes: {' '.join(names) or 'nothing'}; given: {' '.join(values) or 'nothing'}")
    return Cell(stage, STAGES[stage].study, scale, tuple(zip(names, values, strict=True)))


def cells(parameters: Parameters, stage: str | None = None) -> list[Cell]:
    """Every cell of `stage`, or of all stages: each after those it depends on."""
    return [
        cell(name, parameters.scale, *combination)
        for name in STAGES
        if stage in (None, name)
        for combination in product(*axes(parameters, name).values())
    ]
