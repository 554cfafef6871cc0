"""What the figures made of pictures share: which runs to show, and prompts read back from results."""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from studies.figures import panels, style


def prompted_runs(results: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The visual prompting runs of one backbone, largest budget, first seeds; and what they are, in words."""
    panels.only_backbone(results)
    runs = results[results["method"] == "visual_prompting"]
    runs = runs[runs["source_seed"] == runs["source_seed"].iloc[0]]
    budget, seed = style.budgets(runs["budget"])[-1], runs["seed"].iloc[0]
    chosen = runs[(runs["budget"] == budget) & (runs["seed"] == seed)]
    return chosen, f"Budget: {style.budget_label(budget)}; seed {seed}."


def decoded(png: str) -> np.ndarray:
    """A base64 PNG as uint8 (3, H, W)."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return np.moveaxis(np.asarray(picture), 2, 0)
