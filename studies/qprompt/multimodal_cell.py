"""The multimodal cell: MaPLe and QMaPLe for one CLIP and target, with all arms and seeds; or their text sides."""

import copy
from dataclasses import dataclass, field
from functools import cache, partial

from torch import Tensor

from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from studies.qprompt import picture_features, source_models
from studies.qprompt.cell_tables import changed
from studies.rows import head, lost, row
from vpstudy.data.target import load as load_target
from vpstudy.models import clip as clips
from vpstudy.models import sentence_tower
from vpstudy.models.sentence_tower import SentenceTower
from vpstudy.prompts.multimodal import MultimodalPrompt, Weights, first_weights, quantize, stored_bytes
from vpstudy.runtime import configure
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning import tasks
from vpstudy.training.prompt_learning.multimodal import LearnedMultimodal, learn_multimodal, measure
from vpstudy.training.prompt_learning.tasks import Task

GROUPS = ("base", "new")
PUBLISHED = {"n_context": 2, "depth": 9, "text_width": 512, "image_width": 768}  # in CLIP's ViT-B/16


@dataclass
class Arm:
    """One arm with one seed."""

    prompter: str
    name: str
    seed: int
    bits: int | None = None  # of a stored value; None: half precision
    logits: dict[str, Tensor] = field(default_factory=dict)  # (N, K) of "base" and "new"
    learned: LearnedMultimodal | None = None
    reason: str | None = None


class MultimodalCell:
    """Learns prompts for both towers of a CLIP on the base classes of `target`; measures base and new.

    Where the text tower is a sentence encoder, pictures take no prompt, and have their features from the start.
    """

    def __init__(self, parameters: Parameters, backbone: str, target: str, checkpoint: int = 0):
        p = parameters
        self.cell = Cell.of("multimodal", "qprompt", p.scale, backbone=backbone, target=target)
        self.settings, self.how = p.multimodal.settings, p.qprompt.settings
        self.clip_settings = source_models.settings(p, backbone)
        self.runtime = configure(p.execution)
        made = inputs.path(p, backbone, f"clip/{checkpoint}.safetensors")
        self.clip, self.architecture = clips.load(made)
        self.clip.to(self.runtime.device)
        self.data = load_target(target, source_models.size(p, backbone), p.pictures)
        self.features = partial(
            picture_features.features, self.clip, self.architecture, made, self.data, slice(None), self.runtime
        )
        self.text_alone = isinstance(sentence_tower.of(self.clip), SentenceTower)
        self.plain, self.through = ("deep", "qdeep") if self.text_alone else ("maple", "qmaple")
        self.pictures = self.features() if self.text_alone else self.data.pictures.to(self.runtime.device)
        normalise = partial(clips.normalised, architecture=self.architecture)
        self.normalise = (lambda features: features) if self.text_alone else normalise
        name = tasks.class_names(self.data)[:1]  # for shapes alone
        weights = first_weights(self.clip, self.settings.context, self.settings.depth, seed=0, class_names=name)
        depth, image_width, text_width = weights.projections.shape
        self.shape = {"n_context": len(weights.context), "depth": depth}
        self.shape |= {"text_width": text_width, "image_width": image_width}
        self.published = PUBLISHED | ({"image_width": 0} if self.text_alone else {})
        self.task = cache(lambda seed: self._task(seed, self.pictures))  # kept as long as the cell lives

    def _task(self, seed: int, of_pictures: Tensor) -> Task:
        """The base and new classes with this seed's pictures, which pass the tower at every step, or their features."""
        q, groups = self.how, tasks.base_to_new(self.data)
        return tasks.task(self.clip, self.data, groups, of_pictures, q.shots, q.validation_per_class, seed)

    @property
    def jobs(self) -> list[tuple[int, int | None]]:
        """Every training: its seed, and bits of QMaPLe (None: MaPLe)."""
        return [(seed, bits) for seed in self.settings.seeds for bits in (None, *self.settings.bits)]

    def hand_written(self) -> list[Arm]:
        """The untrained template with the unchanged image tower, the same for every seed."""
        seeds = self.settings.seeds
        task = self._task(seeds[0], self.features())
        logits = {group: task.scale * task.test[group][0] @ task.hand_written[group].T for group in GROUPS}
        return [Arm("zero_shot", "one", seed, logits=logits) for seed in seeds]

    def trained(self, seed: int, bits: int | None) -> list[Arm]:
        """A prompt through codebooks of `bits`; without, one in full and quantized after training."""
        arm = Arm(self.through, f"qat-{bits}", seed, bits) if bits else Arm(self.plain, "full", seed)
        after = [] if bits else [Arm(self.plain, f"ptq-{b}", seed, b) for b in self.settings.bits]
        task, by = self.task(seed), self.how.quantizer(bits) if bits else None
        try:
            arm.learned = learn_multimodal(self.clip, task, self.normalise, self.settings, seed, by, self.runtime)
        except Diverged as error:
            for each in (arm, *after):
                each.reason = str(error)
            return [arm, *after]
        arm.logits = arm.learned.logits
        for each in after:
            prompt = self.quantized(arm.learned.prompt.weights, each.bits, task)
            each.logits = measure(prompt, task, self.normalise)
        return [arm, *after]

    def quantized(self, weights: Weights, bits: int, task: Task) -> MultimodalPrompt:
        """A prompt with a copy of learned weights, quantized after training by the published quantizer."""
        prompt = MultimodalPrompt(self.clip, task.base_names, copy.deepcopy(weights), self.runtime)
        quantize(prompt, self.how.quantizer(bits))
        return prompt

    def bytes(self, bits: int | None, shape: dict[str, int] | None = None) -> int:
        """Size of a stored prompt, here or of another shape."""
        return stored_bytes(**shape or self.shape, bits=bits or 16)

    def result(self, arms: list[Arm]) -> dict:
        task, each = self.task(self.settings.seeds[0]), (None, *self.settings.bits)
        facts = {
            "classes": {"base": task.base_names, "new": task.new_names},
            "pictures": {"train": len(task.train[1]), "validation": len(task.validation[1])}
            | {group: len(task.test[group][1]) for group in GROUPS},
            "bytes_published": {str(bits or "full"): self.bytes(bits, self.published) for bits in each},
            "curves": _by_arm(arms, lambda learned: learned.curve),
            "losses": _by_arm(arms, lambda learned: learned.losses),
            "refits": _by_arm(
                [arm for arm in arms if arm.prompter == self.through],
                lambda learned: {kind: by.refits for kind, by in learned.quantized.quantizers.items()},
            ),
        }
        identity = head(self.cell, self.runtime, qprompt=self.how, multimodal=self.settings, clip=self.clip_settings)
        return identity | {"facts": facts, "rows": [self._row(arm, group) for arm in arms for group in GROUPS]}

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"prompter": arm.prompter, "arm": arm.name, "group": group}
        more |= {"bits": arm.bits, "bytes": self.bytes(arm.bits) if arm.prompter in (self.plain, self.through) else 0}
        name, of = f"{arm.prompter} {arm.name} {group}", {"budget": self.how.shots, "seed": arm.seed}
        if arm.reason:
            return lost(name, arm.reason, **of) | more
        labels = self.task(arm.seed).test[group][1].cpu().numpy()
        return row(name, arm.logits[group].double().softmax(1).cpu().numpy(), labels, **of) | more

    def stored_and_used_again(self, arm: Arm) -> dict[str, int | float]:
        """Unpack the codes and the codebooks of a quantized prompt and measure it."""
        task, quantized = self.task(arm.seed), arm.learned.quantized
        again = measure(
            MultimodalPrompt(self.clip, task.base_names, quantized.stored(), self.runtime), task, self.normalise
        )
        size = sum(part.bytes for part in quantized.packed().values())
        sizes = {"bytes of codes and codebooks": size, "bytes claimed": self.bytes(arm.bits)}
        return sizes | changed(arm.logits["base"], again["base"])


def _by_arm(arms: list[Arm], value) -> dict[str, dict[str, list | dict]]:
    values: dict[str, dict[str, list | dict]] = {}
    for arm in arms:
        if arm.learned:
            values.setdefault(f"{arm.prompter} {arm.name}", {})[str(arm.seed)] = value(arm.learned)
    return values
