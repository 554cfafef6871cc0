"""Tasks: which pictures and classes a prompt learns from, and which it is measured on."""

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor

from vpstudy.data import captions
from vpstudy.data.budgets import split
from vpstudy.data.target import Target
from vpstudy.models.architectures import Architecture
from vpstudy.models.clip import TextTower
from vpstudy.prompts.text import described
from vpstudy.runtime import Runtime
from vpstudy.training.prompt_learning import names
from vpstudy.training.prompt_learning.learning import Task
from vpstudy.training.prompt_learning.pretraining import normalised

HAND_WRITTEN = (f"{captions.PREFIX} {{}}.",)  # one plain template: what context vectors start from


def features(clip: CLIP, architecture: Architecture, pictures: Tensor, runtime: Runtime, batch: int = 256) -> Tensor:
    """Features (N, E) of unit length of uint8 pictures (N, 3, H, W); no prompt changes them."""
    clip.to(runtime.device).eval()
    with torch.no_grad(), runtime.autocast():
        found = [
            F.normalize(clip.visual(normalised(chunk.to(runtime.device), architecture)).float(), dim=1)
            for chunk in pictures.split(batch)
        ]
    return torch.cat(found)


def base_to_new(
    clip: CLIP, target: Target, of_pictures: Tensor, shots: int, validation_per_class: int, seed: int
) -> Task:
    """Base-to-new: of the sorted classes the first half is base and trains, the rest is new and is only measured.

    Parameters
    ----------
    of_pictures
        Features (N, E) of every picture of the target.
    shots
        Training pictures per base class, drawn by the seed.
    """
    n = len(target.class_names)
    order = sorted(range(n), key=lambda k: target.class_names[k])
    groups = {"base": order[: -(-n // 2)], "new": order[-(-n // 2) :]}
    called = names.of_classes(target.name, target.class_names)
    parts = split(target, shots, validation_per_class, seed)
    labels = target.labels.to(of_pictures.device)

    def of(indices: np.ndarray, group: str) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, device=of_pictures.device)
        place = torch.full((n,), -1, device=of_pictures.device)
        place[groups[group]] = torch.arange(len(groups[group]), device=of_pictures.device)
        inside = place[labels[chosen]] >= 0
        return of_pictures[chosen[inside]], place[labels[chosen[inside]]]

    tower = TextTower(clip)
    written = {group: [called[k] for k in members] for group, members in groups.items()}
    with torch.no_grad():
        hand_written = {group: described(tower, of_group, HAND_WRITTEN) for group, of_group in written.items()}
    return Task(
        written["base"],
        written["new"],
        of(parts.train, "base"),
        of(parts.validation, "base"),
        {group: of(parts.test, group) for group in groups},
        hand_written,
        clip.logit_scale.exp().item(),
    )
