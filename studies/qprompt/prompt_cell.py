"""The prompt cell: one two-tower model, target and prompter, with all arms and seeds."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from studies.qprompt import picture_features, source_models
from studies.qprompt.cell_tables import changed
from studies.rows import head, lost, row
from vpstudy.data import captions
from vpstudy.data.target import load as load_target
from vpstudy.models import clip as clips
from vpstudy.models import sentence_tower
from vpstudy.prompts import stored
from vpstudy.prompts.codebook import standardise, stored_bytes
from vpstudy.prompts.stored import Stored
from vpstudy.runtime import configure
from vpstudy.training.prompt_learning import tasks, weights
from vpstudy.training.prompt_learning.prompters.base import Arm
from vpstudy.training.prompt_learning.registry import PROMPTERS
from vpstudy.training.prompt_learning.settings import EVERYWHERE
from vpstudy.training.prompt_learning.trial import Trial

GROUPS = ("base", "new")


class PromptCell:
    """Learns prompts for a two-tower model on the base classes of `target`.

    Raises ValueError for an unknown prompter.
    """

    def __init__(self, parameters: Parameters, backbone: str, target: str, prompter: str, checkpoint: int = 0):
        p = parameters
        if prompter not in PROMPTERS:
            raise ValueError(f"prompter {prompter!r} is unknown; allowed: {', '.join(PROMPTERS)}")
        self.cell = Cell.of("prompt", "qprompt", p.scale, backbone=backbone, target=target, prompter=prompter)
        self.name, self.prompter = prompter, PROMPTERS[prompter]
        self.own = getattr(p.qprompt.settings, prompter, None)
        self.settings, self.clip_settings = p.qprompt.settings, source_models.settings(p, backbone)
        self.runtime = configure(p.execution)
        made = inputs.path(p, backbone, f"clip/{checkpoint}.safetensors")
        self.checkpoint, self.folder = checkpoint, made.parents[1]
        self.clip, architecture = clips.load(made)
        self.tower = sentence_tower.of(self.clip.to(self.runtime.device), self.runtime)
        self.data = load_target(target, source_models.size(p, backbone), p.pictures)
        every = slice(None)
        self.features = picture_features.features(self.clip, architecture, made, self.data, every, self.runtime)
        self.trial = cache(self._trial)  # kept as long as the cell lives

    def _trial(self, seed: int) -> Trial:
        s, groups = self.settings, tasks.base_to_new(self.data)
        task = tasks.task(self.clip, self.data, groups, self.features, s.shots, s.validation_per_class, seed)
        name = f"{dict(self.cell.axes)['backbone']} {self.checkpoint}"
        return Trial(self.tower, task, s, seed, name, self.own)

    def result(self, arms: list[Arm]) -> dict:
        first = self.settings.seeds[0]
        task, trained = self.trial(first).task, [arm for arm in arms if arm.learned]
        followed = trained if self.prompter.follow else []
        facts = {
            "classes": {"base": task.base_names, "new": task.new_names},
            "pictures": {"train": len(task.train[1]), "validation": len(task.validation[1])}
            | {group: len(task.test[group][1]) for group in GROUPS},
            "n_weights": self.trial(first).start.numel(),
            "size_512": {arm.name: _published_bytes(arm) for arm in arms if arm.seed == first},
            "curves": _by_arm(trained, lambda arm: arm.learned.curve),
            "refits": _by_arm(
                [arm for arm in trained if arm.learned.quantizer], lambda arm: arm.learned.quantizer.refits
            ),
            "weights": _by_arm(followed, lambda arm: weights.stages(arm.learned.contexts, _epochs(arm))),
            "histograms": {arm.name: _histograms(arm) for arm in followed if arm.seed == first},
        }
        if not arms:
            facts["left_out"] = f"with more base classes than qprompt.settings.{self.name}.most_classes"
        own = {} if self.name in EVERYWHERE or not self.own else {self.name: self.own}
        identity = head(self.cell, self.runtime, qprompt=self.settings, clip=self.clip_settings, **own)
        rows = [self._row(arm, group) for arm in arms for group in GROUPS if arm.reason or group in arm.logits]
        return identity | {"facts": facts, "rows": rows}

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"arm": arm.name, "group": group, "bits": arm.bits, "bytes": _bytes(arm), "distance": arm.distance}
        of = {"budget": self.settings.shots, "seed": arm.seed}
        if arm.reason:
            return lost(f"{arm.name} {group}", arm.reason, **of) | more
        labels = self.trial(arm.seed).task.test[group][1].cpu().numpy()
        probabilities = arm.logits[group].double().softmax(1).cpu().numpy()
        return row(f"{arm.name} {group}", probabilities, labels, **of) | more

    def stored_and_used_again(self, arm: Arm) -> dict[str, int | float]:
        """Unpack the codes and the codebook of a quantized prompt and measure it."""
        again = self.trial(arm.seed).measured(arm.packed.unpacked().to(self.runtime.device))
        sizes = {"bytes of codes and codebook": arm.packed.bytes, "bytes claimed": _bytes(arm)}
        return sizes | changed(arm.logits["base"], again["base"])

    def nearest_words(self, context: Tensor, n: int = 3) -> list[list[str]]:
        """For each vector of a context (M, width), the words with the nearest embeddings, nearest first."""
        of_things = (*tasks.class_names(self.data), *captions.OF_THINGS)
        texts = captions.TEMPLATES + captions.NAMES if self.tower.of_glyphs else of_things
        tokens = sentence_tower.tokenize(self.tower, texts)
        between = zip(tokens, sentence_tower.ends(self.tower, tokens).tolist(), strict=True)
        known = torch.tensor(sorted({token for line, end in between for token in line[1:end].tolist()}))
        nearest = torch.cdist(context, self.tower.vectors(known)).topk(n, largest=False).indices
        return [[sentence_tower.decode(self.tower, int(known[k])) for k in line] for line in nearest.cpu()]

    def files(self, arms: list[Arm]) -> None:
        """Write the learned prompts, packed where quantized, for `vpstudy classify`."""
        kept = {
            f"{arm.name}/{arm.seed}": Stored(arm.packed or arm.used, arm.learned.meta if arm.learned else None)
            for arm in arms
            if arm.used is not None
        }
        place = self.folder / "prompts" / f"{self.data.name}-{self.name}" / f"{self.checkpoint}.safetensors"
        stored.write(place, kept)


def _bytes(arm: Arm) -> int:
    return stored_bytes(arm.n_weights, arm.bits or 16)


def _published_bytes(arm: Arm) -> int | None:
    """Bytes at the width of CLIP's text tower; None for prompters that store features of pictures."""
    n = arm.published_weights
    return stored_bytes(n, arm.bits or 16) if n else n


def _epochs(arm: Arm) -> list[int]:
    return [entry["epoch"] for entry in arm.learned.curve]


def _by_arm(arms: list[Arm], value: Callable[[Arm], Any]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for arm in arms:
        values.setdefault(arm.name, {})[str(arm.seed)] = value(arm)
    return values


def _histograms(arm: Arm) -> dict:
    counts = {
        str(epoch): weights.histogram(standardise(context.double())[0].flatten().cpu().numpy()).tolist()
        for epoch, context in zip(_epochs(arm), arm.learned.contexts, strict=True)
    }
    return {"edges": weights.EDGES.tolist(), "counts": counts}
