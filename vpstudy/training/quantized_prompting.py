"""Visual prompting through a quantizer, and what a stored border answers."""

import numpy as np
import torch

from vpstudy.models.backbones import Backbone
from vpstudy.prompts.quantized import Settings
from vpstudy.prompts.quantized_border import FixedBorder, QuantizedBorder
from vpstudy.prompts.visual.modules import BorderPrompt
from vpstudy.training.data import TransferData, as_float
from vpstudy.training.fit import adam_in_three_stages, fit
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import VisualPrompting
from vpstudy.training.visual_prompting import PromptedBackbone


def learner_of(
    backbone: Backbone,
    data: TransferData,
    settings: VisualPrompting,
    border: BorderPrompt,
    budget: int | str,
    seed: int,
) -> PromptedBackbone:
    """A border in front of a backbone, its mapping found as visual prompting finds it at its start."""
    learner = PromptedBackbone(backbone, border, settings.mapping, len(data.class_names), seed)
    learner.to(data.runtime.device)
    if settings.mapping != "random":
        train = data.examples(data.pictures(border.inner), data.split(budget, seed).train)
        learner.map_by_predictions(as_float(train.inputs), train.labels)
    return learner


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
    backbone.to(data.runtime.device)
    border = QuantizedBorder(settings.chosen.inner, settings.canvas, how, data.runtime.device)
    learner = learner_of(backbone, data, settings, border, budget, seed)
    optimizer, scheduler = adam_in_three_stages(learner.parameters(), settings)
    optimizer.register_step_post_hook(lambda *_: border.step())
    outcome = fit(
        learner,
        data,
        data.pictures(border.inner),
        method="quantized_prompting",
        budget=budget,
        seed=seed,
        schedule=settings,
        optimizer=optimizer,
        scheduler=scheduler,
    )
    return outcome, border


def answers(
    backbone: Backbone,
    data: TransferData,
    settings: VisualPrompting,
    values: torch.Tensor,
    artefact: dict[str, torch.Tensor],
    indices,
    batch: int = 256,
) -> np.ndarray:
    """Target logits (N, K), float32, of the pictures `indices` inside a border of stored `values` (n,).

    Parameters
    ----------
    artefact
        Of an outcome: how source classes answer for target classes.
    """
    border = FixedBorder(settings.chosen.inner, settings.canvas, values)
    learner = PromptedBackbone(backbone, border, settings.mapping, len(data.class_names), 0)
    output = {name: tensor for name, tensor in artefact.items() if not name.startswith("prompt.")}
    learner.load_state_dict(output, strict=False)  # what lacks is theta, which is not shown
    learner.to(data.runtime.device).eval()
    pictures = data.examples(data.pictures(border.inner), indices).inputs
    with torch.inference_mode(), data.runtime.autocast():
        return torch.cat([learner(as_float(chunk)).float() for chunk in pictures.split(batch)]).cpu().numpy()
