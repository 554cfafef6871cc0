"""Tasks: the pictures and classes that a prompt learns from and is measured on."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor

from vpstudy.data import captions
from vpstudy.data.budgets import split
from vpstudy.data.class_names import words
from vpstudy.data.target import Target
from vpstudy.models import sentence_tower
from vpstudy.models.architectures import Architecture
from vpstudy.models.clip import normalised
from vpstudy.models.sentence_tower import Tower
from vpstudy.models.text_tower import tokenize
from vpstudy.prompts.text import described, refuse_twins
from vpstudy.runtime import Runtime

HAND_WRITTEN = (f"{captions.PREFIX} {{}}.",)  # one plain template, from which context vectors start
NAMES = {"digits": [captions.name(digit) for digit in "0123456789"]}  # by target, where its own names say too little


@dataclass(frozen=True)
class Task:
    """Base and new classes of a target for one seed, with features (N, E) of unit length of their pictures.

    Labels count within base and within new. For prompts of both towers, pictures replace features.
    """

    base_names: list[str]
    new_names: list[str]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: dict[str, tuple[Tensor, Tensor]]  # "base" and "new"
    hand_written: dict[str, Tensor]  # zero-shot features (K, E) of "base" and "new"
    scale: float  # of logits

    @property
    def parts(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The parts measured during training."""
        return {"validation": self.validation, **self.test}


def class_names(target: Target) -> list[str]:
    """Class names as written in prompts, in the order of the target. Raises ValueError as `refuse_twins`."""
    called = NAMES.get(target.name) or words(target.class_names)
    refuse_twins(target.class_names, tokenize(called))
    return called


def templates(tower: Tower) -> tuple[str, ...]:
    """Texts around a class name: a small CLIP knows glyphs, every other model things."""
    return captions.TEMPLATES if tower.of_glyphs else captions.OF_THINGS


def features(
    clip: CLIP | CustomTextCLIP, architecture: Architecture, pictures: Tensor, runtime: Runtime, batch: int = 256
) -> Tensor:
    """Features (N, E) of unit length of uint8 pictures (N, 3, H, W)."""
    clip.to(runtime.device).eval()
    with torch.no_grad(), runtime.autocast():
        return torch.cat(
            [
                F.normalize(clip.visual(normalised(chunk.to(runtime.device), architecture)).float(), dim=1)
                for chunk in pictures.split(batch)
            ]
        )


def base_to_new(target: Target) -> dict[str, list[int]]:
    """Class numbers, sorted by name: the first half is base (trained), the rest new (only measured)."""
    n = len(target.class_names)
    order = sorted(range(n), key=lambda k: target.class_names[k])
    return {"base": order[: -(-n // 2)], "new": order[-(-n // 2) :]}


def every_class(target: Target) -> dict[str, list[int]]:
    """All classes, both as base and as new."""
    every = list(range(len(target.class_names)))
    return {"base": every, "new": every}


def task(
    clip: CLIP | CustomTextCLIP,
    target: Target,
    groups: dict[str, list[int]],
    of_pictures: Tensor,
    shots: int,
    validation_per_class: int,
    seed: int,
) -> Task:
    """The task of one seed.

    `groups` are the class numbers of "base" and "new". `of_pictures` holds features (N, E) of all pictures of the
    target, or the pictures. `shots` training pictures per base class are drawn.
    """
    parts = split(target, shots, validation_per_class, seed)
    labels = target.labels.to(of_pictures.device)

    def of(indices: np.ndarray, group: str) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, device=of_pictures.device)
        place = torch.full((len(target.class_names),), -1, device=of_pictures.device)
        place[groups[group]] = torch.arange(len(groups[group]), device=of_pictures.device)
        inside = place[labels[chosen]] >= 0
        return of_pictures[chosen[inside]], place[labels[chosen[inside]]]

    called = class_names(target)
    written = {group: [called[k] for k in members] for group, members in groups.items()}
    tower = sentence_tower.of(clip)
    return Task(
        written["base"],
        written["new"],
        of(parts.train, "base"),
        of(parts.validation, "base"),
        {group: of(parts.test, group) for group in groups},
        {group: described(tower, names, HAND_WRITTEN) for group, names in written.items()},
        clip.logit_scale.exp().item(),
    )
