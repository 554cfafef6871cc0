"""The logits of a stored border, and training through a quantizer."""

import numpy as np
import torch

from vpstudy.models.backbones import Backbone
from vpstudy.prompts.quantized import Settings
from vpstudy.prompts.quantized_border import FixedBorder, QuantizedBorder
from vpstudy.training.data import TransferData
from vpstudy.training.fit import logits_of
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import VisualPrompting
from vpstudy.training.visual_prompting import PromptedBackbone, visual_prompting


def quantized_prompting(
    backbone: Backbone,
    data: TransferData,
    budget: int | str,
    seed: int,
    settings: VisualPrompting,
    how: Settings,
) -> tuple[Outcome, QuantizedBorder]:
    """Learn a border as `visual_prompting` does, but quantized in every forward pass.

    Returns
    -------
    Outcome, QuantizedBorder
        The second is the border at the moment that validation chose; if training diverged, at its end.
    """
    border = QuantizedBorder(settings.chosen.inner, settings.canvas, how, data.runtime.device)
    return visual_prompting(backbone, data, budget, seed, settings, border), border


def answers(
    backbone: Backbone,
    data: TransferData,
    settings: VisualPrompting,
    values: torch.Tensor,
    artefact: dict[str, torch.Tensor],
    indices: np.ndarray,
) -> np.ndarray:
    """Target logits (N, K), float32, of the pictures `indices` inside a border of stored `values` (n,).

    Parameters
    ----------
    artefact
        Of an outcome: how source classes answer for target classes.

    Raises
    ------
    Diverged
        If the logits are not finite.
    """
    border = FixedBorder(settings.chosen.inner, settings.canvas, values)
    learner = PromptedBackbone(backbone, border, settings.mapping, len(data.class_names), 0)
    output = {name: tensor for name, tensor in artefact.items() if not name.startswith("prompt.")}
    learner.load_state_dict(output, strict=False)  # theta is missing, which is not shown
    learner.to(data.runtime.device)
    return logits_of(learner, data.examples(data.pictures(border.inner), indices), data.runtime).cpu().numpy()
