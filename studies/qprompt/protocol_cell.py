"""The protocol cell: prompts that learn from every class of a target, by few pictures, or measured elsewhere."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from IPython.display import Markdown
from torch import Tensor

from studies import results
from studies.cells import Cell
from studies.qprompt.protocols_settings import Settings
from studies.rows import head, row
from vpstudy import paths
from vpstudy.compression.settings import Source
from vpstudy.data import shifts
from vpstudy.data.budgets import split
from vpstudy.data.target import Target
from vpstudy.data.target import load as load_target
from vpstudy.models.clip import TextTower
from vpstudy.progress import track
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.prompts.text import TextPrompt, described
from vpstudy.runtime import configure, seed_for
from vpstudy.settings import Execution, section
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning import names, pretraining, tasks
from vpstudy.training.prompt_learning.learning import Task, Variant, learn
from vpstudy.training.prompt_learning.protocols import PROTOCOLS
from vpstudy.training.prompt_learning.settings import ClipSource, PromptLearning
from vpstudy.training.prompt_learning.variants import quantizer

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Measured:
    """Pictures that prompts are measured on: names of the classes, features (N, E) and labels (N,)."""

    called: list[str]
    features: Tensor
    labels: Tensor


class ProtocolCell:
    """Learn prompts for the CLIP of `backbone` on every class of `target`, and measure them by `protocol`.

    Raises
    ------
    ValueError
        For a protocol that is none of `PROTOCOLS`.
    """

    def __init__(self, scale: str, backbone: str, target: str, protocol: str):
        self.scale, self.backbone, self.target, self.name = scale, backbone, target, protocol
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r} is unknown; allowed: {', '.join(PROTOCOLS)} ")
        self.cell = Cell.of("protocol", "qprompt", scale, backbone=backbone, target=target, protocol=protocol)
        self.settings = section("protocols.settings", Settings, scale)
        self.how = section("qprompt.settings", PromptLearning, scale)
        self.clip_settings = section("clip_source", ClipSource, scale)
        self.source = section("source", Source, scale)
        self.runtime = configure(section("execution", Execution, scale))
        place = paths.MODELS / scale / backbone / "clip.safetensors"
        self.clip, self.architecture = pretraining.load(place)
        self.tower = TextTower(self.clip.to(self.runtime.device))
        self.data = load_target(target, self.source.size)
        self.features = self._features(self.data.pictures)

    def _features(self, pictures: Tensor) -> Tensor:
        return tasks.features(self.clip, self.architecture, pictures, self.runtime)

    def _test(self, data: Target, pictures: Tensor | None = None) -> Measured:
        chosen = torch.as_tensor(data.test)
        features = self._features(data.pictures[chosen] if pictures is None else pictures)
        return Measured(
            names.of_classes(data.name, data.class_names), features, data.labels[chosen].to(features.device)
        )

    @cached_property
    def measured(self) -> dict[str, Measured]:
        """What prompts are measured on, by group: "all" is the target's own test set, with all of its classes."""
        groups = {"all": self._test(self.data)}
        if self.name == "elsewhere":
            tests = self.data.pictures[torch.as_tensor(self.data.test)]
            groups |= {name: self._test(self.data, shifts.shift(tests, name)) for name in self.settings.shifts}
            groups |= {name: self._test(load_target(name, self.source.size)) for name in self.settings.others}
        return groups

    def task(self, seed: int, shots: int) -> Task:
        """Every class of the target, to learn from; what `Task` calls new are the same classes here."""
        parts = split(self.data, shots, self.how.validation_per_class, seed)
        labels = self.data.labels.to(self.features.device)
        train, validation, test = (
            (self.features[torch.as_tensor(p)], labels[torch.as_tensor(p)])
            for p in (parts.train, parts.validation, parts.test)
        )
        called = names.of_classes(self.target, self.data.class_names)
        with torch.no_grad():
            written = described(self.tower, called, tasks.HAND_WRITTEN)
        both = {"base": test, "new": test}
        scale = self.clip.logit_scale.exp().item()
        return Task(called, called, train, validation, both, {"base": written, "new": written}, scale)

    def run(self) -> list[dict]:
        """The rows of every arm with every number of pictures and seed."""
        jobs = [
            (seed, shots, how, arm, variant)
            for seed in self.settings.seeds
            for shots, how in self._learning()
            for arm, variant in self._variants().items()
        ]
        rows = [line for seed in self.settings.seeds for line in self._zero_shot(seed)]
        return rows + [line for job in track(jobs, f"{self.name} on {self.target}") for line in self._trained(*job)]

    def _learning(self) -> list[tuple[int, PromptLearning]]:
        """Pictures per class, and how prompts learn from so many."""
        s = self.settings
        if self.name == "elsewhere":
            return [(self.how.shots, self.how.model_copy(update={"evaluations": 1}))]
        own = {"n_context": s.n_context, "words": None, "evaluations": 1}
        return [
            (shots, self.how.model_copy(update=own | {"epochs": epochs}))
            for shots, epochs in zip(s.shots, s.epochs, strict=True)
        ]

    def _variants(self) -> dict[str, Variant]:
        codebooks = {f"qat-{b}": Variant(quantize=quantizer(self.how, b)) for b in self.settings.bits}
        return {"full": Variant()} | codebooks

    def _zero_shot(self, seed: int) -> list[dict]:
        """The one template that contexts start from, untrained."""
        with torch.no_grad():
            texts = {g: described(self.tower, m.called, tasks.HAND_WRITTEN) for g, m in self.measured.items()}
        return [self._row(ZERO_SHOT, group, 0, seed, of, None, 0) for group, of in texts.items()]

    def _trained(self, seed: int, shots: int, how: PromptLearning, arm: str, variant: Variant) -> list[dict]:
        bits = variant.quantize.bits if variant.quantize else None
        size = stored_bytes(how.n_context * self.tower.width, bits or 16)
        try:
            learned = learn(self.tower, self.task(seed, shots), variant, how, seed)
        except Diverged as error:
            return [self._lost(arm, group, shots, seed, bits, size, str(error)) for group in self.measured]
        rows = []
        for group, measured in self.measured.items():
            with torch.no_grad():
                prompt = TextPrompt(self.tower, measured.called, how.n_context, seed=seed_for("context", seed))
                prompt.context.copy_(learned.prompt.context)
                rows.append(self._row(arm, group, shots, seed, prompt(), bits, size))
        return rows

    def _row(self, arm: str, group: str, shots: int, seed: int, texts: Tensor, bits: int | None, size: int) -> dict:
        measured = self.measured[group]
        logits = self.clip.logit_scale.exp() * measured.features @ texts.T
        probabilities = logits.detach().double().softmax(1).cpu().numpy()
        found = row(f"{arm} {group}", probabilities, measured.labels.cpu().numpy(), budget=shots, seed=seed)
        return found | {"arm": arm, "group": group, "bits": bits, "bytes": size}

    def _lost(self, arm: str, group: str, shots: int, seed: int, bits: int | None, size: int, reason: str) -> dict:
        identity = {"method": f"{arm} {group}", "budget": str(shots), "seed": seed}
        nothing = {"status": "diverged", "reason": reason, "metrics": None, "reliability": None}
        return identity | nothing | {"arm": arm, "group": group, "bits": bits, "bytes": size}

    def record(self, rows: list[dict]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        # The settings that shape a cell; the other names on the axes do not.
        facts = {group: {"pictures": len(m.labels), "classes": m.called} for group, m in self.measured.items()}
        identity = head(self.cell, self.runtime, qprompt=self.how, protocols=self.settings, clip=self.clip_settings)
        return identity | {"facts": {"groups": facts}, "rows": rows}

    def examples(self, n: int = 8) -> dict[str, Tensor]:
        """The first `n` test pictures of different classes, of each group."""
        own = _of_each_class(self.data, n)
        if self.name == "few_shot":
            return {self.target: own}
        others = {name: _of_each_class(load_target(name, self.source.size), n) for name in self.settings.others}
        return {self.target: own} | {name: shifts.shift(own, name) for name in self.settings.shifts} | others

    def conclusion(self, rows: list[dict]) -> Markdown:
        """Mean accuracy of each arm: a column for each number of pictures and group."""
        columns = list(dict.fromkeys((r["group"], r["budget"]) for r in rows if r["arm"] != ZERO_SHOT))
        heads = [f"{group}, {budget} per class" for group, budget in columns]
        lines = [f"| arm | {' | '.join(heads)} | bytes |", "|---" * (len(heads) + 2) + "|"]
        for arm in dict.fromkeys(r["arm"] for r in rows):
            mine = [r for r in rows if r["arm"] == arm]
            found = [
                [r for r in mine if r["status"] == "ok" and r["group"] == group and r["budget"] in (budget, "0")]
                for group, budget in columns
            ]
            means = [f"{np.mean([r['metrics']['accuracy'] for r in each]):.3f}" if each else "—" for each in found]
            lines.append(f"| {arm} | {' | '.join(means)} | {mine[0]['bytes']} |")
        return Markdown("\n".join(lines))

    def save(self, record: dict) -> None:
        results.write(results.path(self.cell), record)


def _of_each_class(data: Target, n: int) -> Tensor:
    """Test pictures of the first `n` classes, one of each."""
    tests = torch.as_tensor(data.test)
    labels = data.labels[tests]
    return data.pictures[tests[[int((labels == k).nonzero()[0]) for k in range(min(n, len(data.class_names)))]]]
