"""From axes to cells: the stages of dvc.yaml for a set of parameters, in a runnable order."""

from dataclasses import dataclass
from functools import cache, reduce
from itertools import product

import yaml

from studies.cells import Cell
from studies.parameters import Parameters
from vpstudy import paths


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml: its notebook, and the study of its results."""

    notebook: str
    study: str


STAGES = {
    "pictures": Stage("12_pictures", "pictures"),
    "source": Stage("10_source", "backbones"),
    "weights": Stage("11_weights", "backbones"),
    "imp": Stage("15_imp", "backbones"),
    "compress": Stage("20_compress", "backbones"),
    "transfer": Stage("30_transfer", "hidden_cost"),
    "real_network": Stage("31_real_network", "hidden_cost"),
    "prune_with_prompts": Stage("40_prune_with_prompts", "vpns"),
    "clip_source": Stage("50_clip_source", "qprompt"),
    "prompt": Stage("51_prompt", "qprompt"),
    "few_shot": Stage("52_few_shot", "qprompt"),
    "multimodal": Stage("53_multimodal", "qprompt"),
    "other_pictures": Stage("54_other_pictures", "qprompt"),
    "quantize_visual_prompt": Stage("60_quantized_visual_prompt", "across"),
    "prompt_on_compressed": Stage("61_prompt_on_compressed", "across"),
    "claims": Stage("99_claims", "claims"),
    "hidden_cost": Stage("90_hidden_cost", "hidden_cost"),
    "vpns": Stage("91_vpns", "vpns"),
    "qprompt": Stage("92_qprompt", "qprompt"),
    "across": Stage("93_across", "across"),
}


CHAIN = ("source", "imp")  # run one after another, beside few others: each takes several cores


def threads(stage: str, parameters: Parameters) -> int:
    """CPU threads of a stage, and so its cores where stages run in parallel."""
    execution = parameters.execution
    return execution.threads if stage in CHAIN else execution.cell_threads


@cache
def _matrices() -> dict[str, dict[str, str]]:
    """Matrix of each stage in dvc.yaml: its axes, and the parameter with their values."""
    stages = yaml.safe_load(paths.STAGES.read_text(encoding="utf-8"))["stages"]
    return {
        name: {axis: source.removeprefix("${").removesuffix("}") for axis, source in stage.get("matrix", {}).items()}
        for name, stage in stages.items()
    }


def is_final(stage: str) -> bool:
    """Whether a stage has no axes: it reads results of others, and its notebook is committed."""
    return not _matrices()[stage]


def axes(parameters: Parameters, stage: str) -> dict[str, list[str]]:
    return {axis: reduce(getattr, key.split("."), parameters) for axis, key in _matrices()[stage].items()}


def cell(stage: str, scale: str, *values: str) -> Cell:
    """The cell that a command names, e.g. `transfer default cnn imp-0.80 digits`. ValueError if there is none."""
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is no stage; allowed: {', '.join(STAGES)}")
    names = _matrices()[stage]
    if len(values) != len(names):
        raise ValueError(f"{stage} takes: {' '.join(names) or 'nothing'}; given: {' '.join(values) or 'nothing'}")
    return Cell(stage, STAGES[stage].study, scale, tuple(zip(names, values, strict=True)))


def cells(parameters: Parameters, stage: str | None = None) -> list[Cell]:
    """Every cell of `stage`, or of all stages, each after its dependencies."""
    return [
        cell(name, parameters.scale, *combination)
        for name in STAGES
        if stage in (None, name)
        for combination in product(*axes(parameters, name).values())
    ]
