"""Cells of prompts learned on every class of a target: from few pictures, and measured on other pictures."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from studies.qprompt import picture_features, source_models
from studies.qprompt.labels import ZERO_SHOT
from studies.rows import head, lost, row
from vpstudy.data.shifts import SHIFTS
from vpstudy.data.target import Target
from vpstudy.data.target import load as load_target
from vpstudy.models import clip as clips
from vpstudy.models import sentence_tower
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.text import TextPrompt, described
from vpstudy.runtime import configure
from vpstudy.training.prompt_learning import tasks
from vpstudy.training.prompt_learning.prompters.base import Variant
from vpstudy.training.prompt_learning.settings import PromptLearning
from vpstudy.training.prompt_learning.trial import Trial

# depends on vpstudy/data/targets, on any of which it may measure


@dataclass(frozen=True)
class Group:
    """Pictures to measure on: class names, features (N, E) and labels (N,)."""

    called: list[str]
    features: Tensor
    labels: Tensor


class EveryClassCell:
    """Learns CoOp and QCoOp for a two-tower model on every class of `target`."""

    stage: ClassVar[str]

    def __init__(self, parameters: Parameters, backbone: str, target: str, checkpoint: int = 0):
        p = parameters
        self.cell = Cell.of(self.stage, "qprompt", p.scale, backbone=backbone, target=target)
        self.settings, self.how = getattr(p, self.stage).settings, p.qprompt.settings
        self.clip_settings = source_models.settings(p, backbone)
        self.size, self.runtime = source_models.size(p, backbone), configure(p.execution)
        self.checkpoint = checkpoint
        self.made = inputs.path(p, backbone, f"clip/{checkpoint}.safetensors")
        self.clip, self.architecture = clips.load(self.made)
        self.tower = sentence_tower.of(self.clip.to(self.runtime.device), self.runtime)
        self.load = partial(load_target, size=self.size, origins=p.pictures)
        self.data = self.load(target)
        self.features = self._of(self.data, slice(None))

    def _of(self, data: Target, chosen: Tensor | slice) -> Tensor:
        return picture_features.features(self.clip, self.architecture, self.made, data, chosen, self.runtime)

    def _group(self, data: Target, shift: str | None = None) -> Group:
        """The test set of a target, shifted if `shift` is given."""
        tests = torch.as_tensor(data.test)
        labels, called = data.labels[tests].to(self.runtime.device), tasks.class_names(data)
        if shift is None:
            return Group(called, self._of(data, tests), labels)
        shifted = replace(data, pictures=SHIFTS[shift](data.pictures[tests]))
        return Group(called, self._of(shifted, slice(None)), labels)

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Groups to measure on; "all" is the target's own test set with all of its classes."""
        return {"all": self._group(self.data)}

    @property
    def learning(self) -> list[tuple[int, PromptLearning]]:
        """Numbers of pictures per class, with the settings for each."""
        raise NotImplementedError

    def trial(self, seed: int, shots: int, how: PromptLearning) -> Trial:
        """A trial on every class of the target; its new classes are the same ones."""
        classes, held_out = tasks.every_class(self.data), self.how.validation_per_class
        task = tasks.task(self.clip, self.data, classes, self.features, shots, held_out, seed)
        return Trial(self.tower, task, how, seed, f"{dict(self.cell.axes)['backbone']} {self.checkpoint}")

    @property
    def jobs(self) -> list[tuple[int, int, PromptLearning, int | None]]:
        """Every training: its seed, pictures per class, settings, and bits of QCoOp (None: CoOp)."""
        return [
            (seed, shots, how, bits)
            for seed in self.settings.seeds
            for shots, how in self.learning
            for bits in (None, *self.settings.bits)
        ]

    def zero_shot(self, seed: int) -> list[dict]:
        """Rows of the hand-written prompt, on every group."""
        texts = {name: described(self.tower, group.called, tasks.HAND_WRITTEN) for name, group in self.groups.items()}
        more = {"arm": ZERO_SHOT, "bits": None, "bytes": 0}
        return [self._row(name, of, 0, seed) | more for name, of in texts.items()]

    def learned(self, seed: int, shots: int, how: PromptLearning, bits: int | None) -> list[dict]:
        """Rows of QCoOp, or of CoOp without `bits`, on every group."""
        trial, name = self.trial(seed, shots, how), f"qat-{bits}" if bits else "full"
        arm = trial.trained(name, Variant(quantize=how.quantizer(bits)) if bits else Variant())
        more = {"arm": name, "bits": bits, "bytes": stored_bytes(trial.start.numel(), bits or 16)}
        if arm.reason:
            of = {"budget": shots, "seed": seed}
            return [lost(f"{name} {group}", arm.reason, **of) | more | {"group": group} for group in self.groups]
        with torch.no_grad():
            texts = {key: TextPrompt(self.tower, group.called, arm.used)() for key, group in self.groups.items()}
        return [self._row(group, of, shots, seed, name) | more for group, of in texts.items()]

    def _row(self, name: str, texts: Tensor, shots: int, seed: int, arm: str = ZERO_SHOT) -> dict:
        group = self.groups[name]
        logits = self.clip.logit_scale.exp() * group.features @ texts.T
        probabilities = logits.detach().double().softmax(1).cpu().numpy()
        labels = group.labels.cpu().numpy()
        return row(f"{arm} {name}", probabilities, labels, budget=shots, seed=seed) | {"group": name}

    def result(self, rows: list[dict]) -> dict:
        facts = {name: {"pictures": len(group.labels), "classes": group.called} for name, group in self.groups.items()}
        of = {"qprompt": self.how, self.stage: self.settings, "clip": self.clip_settings}
        return head(self.cell, self.runtime, **of) | {"facts": {"groups": facts}, "rows": rows}

    def examples(self, n: int = 8) -> dict[str, Tensor]:
        """A test picture of each of the first `n` classes, by group."""
        return {self.data.name: _of_each_class(self.data, n)}


class FewShotCell(EveryClassCell):
    """Learns from each number of pictures per class."""

    stage = "few_shot"

    @property
    def learning(self) -> list[tuple[int, PromptLearning]]:
        s, own = self.settings, {"context": self.settings.context, "evaluations": 1}
        return [
            (shots, self.how.model_copy(update=own | {"epochs": epochs}))
            for shots, epochs in zip(s.shots, s.epochs, strict=True)
        ]


class OtherPicturesCell(EveryClassCell):
    """Learns once, and measures on shifted pictures (domain shift) and on other targets (across data sets)."""

    stage = "other_pictures"

    @cached_property
    def groups(self) -> dict[str, Group]:
        shifted = {name: self._group(self.data, name) for name in self.settings.shifts}
        return super().groups | shifted | {name: self._group(self.load(name)) for name in self.settings.others}

    @property
    def learning(self) -> list[tuple[int, PromptLearning]]:
        return [(self.how.shots, self.how.model_copy(update={"evaluations": 1}))]

    def examples(self, n: int = 8) -> dict[str, Tensor]:
        own = super().examples(n)
        shifted = {name: SHIFTS[name](own[self.data.name]) for name in self.settings.shifts}
        return own | shifted | {name: _of_each_class(self.load(name), n) for name in self.settings.others}


def _of_each_class(data: Target, n: int) -> Tensor:
    tests = torch.as_tensor(data.test)
    labels = data.labels[tests]
    return data.pictures[tests[[int((labels == k).nonzero()[0]) for k in range(min(n, len(data.class_names)))]]]
