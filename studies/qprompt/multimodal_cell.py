"""The multimodal cell: MaPLe and QMaPLe for one CLIP and one target, with their arms and seeds inside."""

import copy
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from IPython.display import Markdown
from torch import Tensor

from studies import results
from studies.cells import Cell
from studies.qprompt.multimodal_settings import Settings
from studies.rows import head, row
from vpstudy import paths
from vpstudy.compression.settings import Source
from vpstudy.data.target import load as load_target
from vpstudy.models.image_tower import ImageTower
from vpstudy.progress import track
from vpstudy.prompts import multimodal_stored
from vpstudy.prompts.deep_text import DeepTextTower
from vpstudy.prompts.multimodal import MultimodalPrompt
from vpstudy.prompts.multimodal_quantized import quantize, stored_bytes
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning import pretraining, tasks
from vpstudy.training.prompt_learning.learning import Task
from vpstudy.training.prompt_learning.multimodal_learning import (
    LearnedMultimodal,
    MultimodalSettings,
    learn_multimodal,
    measure,
)
from vpstudy.training.prompt_learning.settings import ClipSource, PromptLearning
from vpstudy.training.prompt_learning.variants import quantizer

GROUPS, LEARNED = ("base", "new"), ("maple", "qmaple")
PUBLISHED = {"n_context": 2, "depth": 9, "text_width": 512, "image_width": 768}  # in CLIP's ViT-B/16


@dataclass
class Arm:
    """One arm with one seed: its logits (N, K) of "base" and "new"; bits of a stored value, None for half precision."""

    prompter: str
    name: str
    seed: int
    bits: int | None = None
    logits: dict[str, Tensor] = field(default_factory=dict)
    learned: LearnedMultimodal | None = None
    reason: str | None = None


class MultimodalCell:
    """Learn prompts for both towers of the CLIP of `backbone` on the base classes of `target`; measure base and new."""

    def __init__(self, scale: str, backbone: str, target: str):
        self.backbone, self.target = backbone, target
        self.cell = Cell.of("multimodal", "qprompt", scale, backbone=backbone, target=target)
        self.settings = section("multimodal.settings", Settings, scale)
        self.how = section("qprompt.settings", PromptLearning, scale)
        self.clip_settings = section("clip_source", ClipSource, scale)
        source = section("source", Source, scale)
        self.runtime = configure(section("execution", Execution, scale))
        place = paths.MODELS / scale / backbone / "clip.safetensors"
        self.clip, self.architecture = pretraining.load(place)
        self.clip.to(self.runtime.device)
        self.data = load_target(target, source.size)
        self.pictures = self.data.pictures.to(self.runtime.device)
        self.normalise = partial(pretraining.normalised, architecture=self.architecture)
        self.task = cache(self._task)  # as long as the cell lives

    def _task(self, seed: int) -> Task:
        """The base and new classes, and the pictures that this seed draws: they pass the tower at every step."""
        q = self.how
        return tasks.base_to_new(self.clip, self.data, self.pictures, q.shots, q.validation_per_class, seed)

    def run(self) -> list[Arm]:
        """Every arm with every seed; a training that leaves the finite numbers is a result, too."""
        jobs = [(seed, bits) for seed in self.settings.seeds for bits in (None, *self.settings.bits)]
        arms = [arm for job in track(jobs, f"MaPLe on {self.target}") for arm in self._trained(*job)]
        return arms + self._hand_written()

    def _hand_written(self) -> list[Arm]:
        """The one template that prompts start from, with the image tower as it is: the same for every seed."""
        features = tasks.features(self.clip, self.architecture, self.pictures, self.runtime)
        q, seeds = self.how, self.settings.seeds
        task = tasks.base_to_new(self.clip, self.data, features, q.shots, q.validation_per_class, seeds[0])
        logits = {group: task.scale * task.test[group][0] @ task.hand_written[group].T for group in GROUPS}
        return [Arm("zero_shot", "one", seed, logits=logits) for seed in seeds]

    def _trained(self, seed: int, bits: int | None) -> list[Arm]:
        """QMaPLe of so many bits; without, MaPLe in full and quantized after training."""
        s = self.settings
        arm = Arm("qmaple", f"qat-{bits}", seed, bits) if bits else Arm("maple", "full", seed)
        after = [] if bits else [Arm("maple", f"ptq-{b}", seed, b) for b in s.bits]
        how = s.model_dump(exclude={"seeds", "bits", "codebooks"})
        by = quantizer(self.how, bits) if bits else None
        try:
            arm.learned = learn_multimodal(
                self.clip, self.task(seed), self.normalise, MultimodalSettings(**how), seed, bits=by, per=s.codebooks
            )
        except Diverged as error:
            for each in (arm, *after):
                each.reason = str(error)
            return [arm, *after]
        arm.logits = arm.learned.logits
        for each in after:
            each.logits = measure(self.quantized(arm.learned.prompt, each.bits), self.task(seed), self.normalise)
        return [arm, *after]

    def quantized(self, prompt: MultimodalPrompt, bits: int) -> MultimodalPrompt:
        """A copy of a learned prompt, quantized as it is by the published quantizer."""
        of = self.task(self.settings.seeds[0]).base_names
        other = MultimodalPrompt(self.clip, of, 1, 1, weights=copy.deepcopy(prompt.weights))
        quantize(other, quantizer(self.how, bits), self.settings.codebooks)
        return other

    def bytes(self, bits: int | None) -> int:
        """Of a stored prompt."""
        shape = {"n_context": self.settings.n_context, "depth": self.settings.depth}
        widths = {"text_width": DeepTextTower(self.clip).width, "image_width": ImageTower(self.clip).width}
        return self._bytes(bits, **shape, **widths)

    def _bytes(self, bits: int | None, **shape: int) -> int:
        return stored_bytes(**shape, bits=bits or 16, per=self.settings.codebooks)

    def record(self, arms: list[Arm]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        # The settings that shape a cell; the other names on the axes do not.
        record = head(self.cell, self.runtime, qprompt=self.how, multimodal=self.settings, clip=self.clip_settings)
        task = self.task(self.settings.seeds[0])
        record["facts"] = {
            "classes": {"base": task.base_names, "new": task.new_names},
            "pictures": {"train": len(task.train[1]), "validation": len(task.validation[1])}
            | {group: len(task.test[group][1]) for group in GROUPS},
            "bytes_published": {
                str(bits or "full"): self._bytes(bits, **PUBLISHED) for bits in (None, *self.settings.bits)
            },
            "curves": _by_arm(arms, lambda learned: learned.curve),
            "losses": _by_arm(arms, lambda learned: learned.losses),
            "refits": _by_arm(
                [arm for arm in arms if arm.prompter == "qmaple"],
                lambda learned: {kind: [log.refits for log in logs] for kind, logs in learned.quantized.logs().items()},
            ),
        }
        return record | {"rows": [self._row(arm, group) for arm in arms for group in GROUPS]}

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"prompter": arm.prompter, "arm": arm.name, "group": group}
        more |= {"bits": arm.bits, "bytes": self.bytes(arm.bits) if arm.prompter in LEARNED else 0}
        name, shots = f"{arm.prompter} {arm.name} {group}", self.how.shots
        if arm.reason:
            lost = {"status": "diverged", "reason": arm.reason, "metrics": None, "reliability": None}
            return {"method": name, "budget": str(shots), "seed": arm.seed} | lost | more
        labels = self.task(arm.seed).test[group][1].cpu().numpy()
        probabilities = arm.logits[group].double().softmax(1).cpu().numpy()
        return row(name, probabilities, labels, budget=shots, seed=arm.seed) | more

    def stored_and_used_again(self, arm: Arm) -> dict[str, int | float]:
        """Write a QMaPLe prompt to files, read them, and measure with what they hold."""
        task, quantized = self.task(arm.seed), arm.learned.quantized
        with TemporaryDirectory() as folder:
            size, headers = multimodal_stored.save(quantized, Path(folder))
            weights = multimodal_stored.load(quantized, Path(folder))
        again = measure(MultimodalPrompt(self.clip, task.base_names, 1, 1, weights=weights), task, self.normalise)
        return {
            "bytes of the files": size,
            "of these, their headers": headers,
            "bytes claimed": self.bytes(arm.bits),
            "largest change of a logit": float((again["base"] - arm.logits["base"]).abs().max()),
            "answers that change": int((again["base"].argmax(1) != arm.logits["base"].argmax(1)).sum()),
        }

    def conclusion(self, record: dict) -> Markdown:
        """Base, new and their harmonic mean, by arm: means over the seeds that finished."""
        lines = ["| arm | base | new | harmonic mean | bytes | seeds |", "|---|---|---|---|---|---|"]
        for name in dict.fromkeys((r["prompter"], r["arm"]) for r in record["rows"]):
            rows = [r for r in record["rows"] if (r["prompter"], r["arm"]) == name]
            of = {
                g: [r["metrics"]["accuracy"] for r in rows if r["status"] == "ok" and r["group"] == g] for g in GROUPS
            }
            both = [2 * b * n / max(b + n, 1e-12) for b, n in zip(of["base"], of["new"], strict=True)]
            texts = [f"{np.mean(values):.3f}" if values else "—" for values in (*of.values(), both)]
            lines.append(f"| {' '.join(name)} | {' | '.join(texts)} | {rows[0]['bytes']} | {len(both)} |")
        return Markdown("\n".join(lines))

    def save(self, record: dict) -> None:
        results.write(results.path(self.cell), record)


def _by_arm(arms: list[Arm], value) -> dict[str, dict[str, list | dict]]:
    """`value` of what each arm learned: by arm, then by seed."""
    found: dict[str, dict[str, list | dict]] = {}
    for arm in arms:
        if arm.learned:
            found.setdefault(f"{arm.prompter} {arm.name}", {})[str(arm.seed)] = value(arm.learned)
    return found
