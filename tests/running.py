"""What notebooks do with a cell step by step, in one call."""

import json
from pathlib import Path
from typing import Any

from studies.qprompt.every_class_cells import EveryClassCell
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.prompt_cell import PromptCell
from studies.vpns.cell import PruneCell
from vpstudy import paths


def run_notebook(name: str | Path, **parameters: Any) -> dict[str, Any]:
    """Run a notebook's code, with these in place of the cell of its parameters; return its variables.

    `name` is that of a file in `notebooks/`, or a path, without .ipynb.
    """
    for cell in json.loads((paths.NOTEBOOKS / name).with_suffix(".ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), parameters)
    return parameters


def run(cell: PromptCell | EveryClassCell | MultimodalCell | PruneCell) -> list:
    """The arms of a cell, with every seed; of prompts for every class, its rows."""
    seeds = cell.settings.seeds
    if isinstance(cell, PromptCell):
        return [arm for seed in seeds for arm in cell.prompter.arms(cell.trial(seed))]
    if isinstance(cell, EveryClassCell):
        untrained = [row for seed in seeds for row in cell.zero_shot(seed)]
        return untrained + [row for job in cell.jobs for row in cell.learned(*job)]
    if isinstance(cell, PruneCell):
        done = []
        for arm, sparsity in cell.arms:
            done += cell.train(arm, sparsity, done)
        return done
    return [arm for job in cell.jobs for arm in cell.trained(*job)] + cell.hand_written()
