"""The prompt cell: one CLIP, one target and one prompter, with its arms and seeds inside."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from IPython.display import Markdown
from safetensors.torch import save as serialize
from torch import Tensor

from studies import results
from studies.cells import Cell
from studies.rows import head, row
from vpstudy import atomic, paths
from vpstudy.compression.settings import Source
from vpstudy.data import captions
from vpstudy.data.target import load as load_target
from vpstudy.models.clip import TextTower, tokenize, tokenizer
from vpstudy.progress import track
from vpstudy.prompts import stored
from vpstudy.prompts.codebook import Packed, standardise, stored_bytes
from vpstudy.prompts.quantized import Quantizer
from vpstudy.prompts.text import TextPrompt, described
from vpstudy.runtime import configure, seed_for
from vpstudy.settings import Execution, section
from vpstudy.training.fit import Diverged
from vpstudy.training.prompt_learning import adapters, pretraining, tasks, weights
from vpstudy.training.prompt_learning.learning import Learned, Task, Variant, learn, measure, with_context
from vpstudy.training.prompt_learning.methods import METHODS
from vpstudy.training.prompt_learning.settings import ClipSource, PromptLearning
from vpstudy.training.prompt_learning.variants import quantizer, variants

GROUPS = ("base", "new")
PUBLISHED_WIDTH = 512  # of CLIP's text tower, at which sizes are also told


@dataclass
class Arm:
    """One arm with one seed.

    Attributes
    ----------
    logits
        (N, K) of "base" and "new", as far as the arm has them.
    bits
        Of a value of the prompt as it is stored; None where it is no codebook's.
    n_weights
        Values that are stored: the context, and what learned beside it.
    used, start
        The context (M, width) as it is used, and as it was; None without one.
    """

    name: str
    seed: int
    logits: dict[str, Tensor] = field(default_factory=dict)
    bits: int | None = None
    n_weights: int = 0
    used: Tensor | None = None
    start: Tensor | None = None
    learned: Learned | None = None
    packed: Packed | None = None
    reason: str | None = None

    @property
    def bytes(self) -> int:
        return stored_bytes(self.n_weights, self.bits or 16)

    @property
    def distance(self) -> float | None:
        """RMS distance of the used context to its start, in units of the start's deviation."""
        if self.used is None:
            return None
        return float((self.used - self.start).square().mean().sqrt() / self.start.std(correction=0))


class PromptCell:
    """Learn prompts for the CLIP of `backbone` on the base classes of `target` by `prompter`; measure base and new."""

    def __init__(self, scale: str, backbone: str, target: str, prompter: str):
        self.scale, self.backbone, self.target, self.name = scale, backbone, target, prompter
        if prompter not in METHODS:
            raise ValueError(f"prompter {prompter!r} is unknown; allowed: {', '.join(METHODS)} ")
        self.cell = Cell.of("prompt", "qprompt", scale, backbone=backbone, target=target, prompter=prompter)
        self.settings = section("qprompt.settings", PromptLearning, scale)
        self.clip_settings = section("clip_source", ClipSource, scale)
        source = section("source", Source, scale)
        self.runtime = configure(section("execution", Execution, scale))
        place = paths.MODELS / scale / backbone / "clip.safetensors"
        self.clip, architecture = pretraining.load(place)
        self.clip.to(self.runtime.device)
        self.tower = TextTower(self.clip)
        self.data = load_target(target, source.size)
        # No prompt of this study changes a picture's features: each is computed once.
        self.features = tasks.features(self.clip, architecture, self.data.pictures, self.runtime)

    def task(self, seed: int) -> Task:
        """The base and new classes, and the pictures that this seed draws."""
        s = self.settings
        return tasks.base_to_new(self.clip, self.data, self.features, s.shots, s.validation_per_class, seed)

    def run(self) -> list[Arm]:
        """Every arm with every seed; a training that leaves the finite numbers is a result, too."""
        jobs = [(seed, job) for seed in self.settings.seeds for job in self._jobs(seed)]
        return [arm for seed, job in track(jobs, f"{self.name} on {self.target}") for arm in job(seed)]

    def _jobs(self, seed: int) -> list:
        if self.name == "zero_shot":
            return [self._hand_written]
        if self.name == "references":
            return [self._references]
        start = self._start(seed)
        chosen = variants(self.name, self.settings, start, seed_for("codebook", seed))
        return [
            lambda seed, arm=arm, variant=variant: self._trained(arm, variant, seed) for arm, variant in chosen.items()
        ]

    def _start(self, seed: int) -> Tensor:
        task, s = self.task(seed), self.settings
        prompt = TextPrompt(self.tower, task.base_names, s.n_context, words=s.words, seed=seed_for("context", seed))
        return prompt.context.detach()

    def _hand_written(self, seed: int) -> list[Arm]:
        """What needs no training: the words that contexts start from, all templates, and the words quantized."""
        task, start = self.task(seed), self._start(seed)
        one = with_context(self.tower, task, start)
        arms = [Arm("one", seed, measure(one, task), used=start, start=start)]
        with torch.no_grad():
            logits = {
                group: task.scale * task.test[group][0] @ described(self.tower, names, captions.TEMPLATES).T
                for group, names in (("base", task.base_names), ("new", task.new_names))
            }
        arms.append(Arm("templates", seed, logits))
        return arms + [self._quantized(f"hand-{bits}", task, start, start, bits, seed) for bits in self.settings.bits]

    def _references(self, seed: int) -> list[Arm]:
        task = self.task(seed)
        n_features, n_classes = task.train[0].shape[1], len(task.base_names)
        of_cache = task.train[0].numel() + len(task.train[1])
        return [
            Arm("probe", seed, {"base": adapters.probe(task)}, n_weights=(n_features + 1) * n_classes),
            Arm("tip", seed, {"base": adapters.tip_adapter(task, seed, train=False)}, n_weights=of_cache),
            Arm("tip-f", seed, {"base": adapters.tip_adapter(task, seed, train=True)}, n_weights=of_cache),
        ]

    def _trained(self, arm: str, variant: Variant, seed: int) -> list[Arm]:
        task, start = self.task(seed), self._start(seed)
        bits = variant.quantize.bits if variant.quantize else None
        try:
            learned = learn(self.tower, task, variant, self.settings, seed)
        except Diverged as error:
            names = [arm, *(f"ptq-{bits}" for bits in self.settings.bits if self.name == "coop")]
            return [Arm(name, seed, bits=bits, reason=str(error)) for name in names]
        used = learned.prompt.context.detach().clone()
        beside = sum(p.numel() for p in learned.meta.parameters()) if learned.meta else 0
        packed = learned.quantizer.packed(learned.contexts[-1]) if learned.quantizer else None
        found = Arm(arm, seed, learned.logits, bits, used.numel() + beside, used, start, learned, packed)
        if self.name != "coop":
            return [found]
        return [found, *(self._quantized(f"ptq-{b}", task, used, start, b, seed) for b in self.settings.bits)]

    def _quantized(self, name: str, task: Task, context: Tensor, start: Tensor, bits: int, seed: int) -> Arm:
        """A context quantized as it is, by the published quantizer."""
        by = Quantizer(context, quantizer(self.settings, bits))
        with torch.no_grad():
            used = by(context)
        logits = measure(with_context(self.tower, task, used), task)
        return Arm(name, seed, logits, bits, used.numel(), used, start, packed=by.packed(context))

    def record(self, arms: list[Arm]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        record = head(self.cell, self.runtime, qprompt=self.settings, clip=self.clip_settings)
        first = self.settings.seeds[0]
        task, trained = self.task(first), [arm for arm in arms if arm.learned]
        followed = [arm for arm in trained if self.name in ("coop", "qcoop")]
        context = self._start(first)
        record["facts"] = {
            "classes": {"base": task.base_names, "new": task.new_names},
            "pictures": {"train": len(task.train[1]), "validation": len(task.validation[1])}
            | {group: len(task.test[group][1]) for group in GROUPS},
            "n_weights": context.numel(),
            "size_512": {arm.name: self._published_bytes(arm) for arm in arms if arm.seed == first},
            "curves": _by_arm(trained, lambda arm: arm.learned.curve),
            "refits": _by_arm(
                [arm for arm in trained if arm.learned.quantizer], lambda arm: arm.learned.quantizer.log.refits
            ),
            "weights": _by_arm(
                followed,
                lambda arm: weights.stages(arm.learned.contexts, [entry["epoch"] for entry in arm.learned.curve]),
            ),
            "histograms": {arm.name: _histograms(arm) for arm in followed if arm.seed == first},
        }
        return record | {"rows": [line for arm in arms for line in self._rows(arm)]}

    def _published_bytes(self, arm: Arm) -> int | None:
        """Bytes at the width of CLIP's text tower; None for what holds features of pictures."""
        if self.name == "references" or not arm.n_weights:
            return None if self.name == "references" else 0
        n = self.settings.n_context * PUBLISHED_WIDTH
        if self.name == "cocoop":
            hidden = PUBLISHED_WIDTH // 16
            n += 2 * PUBLISHED_WIDTH * hidden + hidden + PUBLISHED_WIDTH
        return stored_bytes(n, arm.bits or 16)

    def _rows(self, arm: Arm) -> list[dict]:
        groups = ("base",) if self.name == "references" else GROUPS
        return [self._row(arm, group) for group in groups]

    def _row(self, arm: Arm, group: str) -> dict:
        more = {"arm": arm.name, "group": group, "bits": arm.bits, "bytes": arm.bytes, "distance": arm.distance}
        name, shots = f"{arm.name} {group}", self.settings.shots
        if arm.reason:
            identity = {"method": name, "budget": str(shots), "seed": arm.seed}
            nothing = {"status": "diverged", "reason": arm.reason, "metrics": None, "reliability": None}
            return identity | nothing | more
        labels = self.task(arm.seed).test[group][1].cpu().numpy()
        probabilities = arm.logits[group].double().softmax(1).cpu().numpy()
        return row(name, probabilities, labels, budget=shots, seed=arm.seed) | more

    def stored_and_used_again(self, arm: Arm) -> dict[str, int | float]:
        """Write a quantized prompt to a file, read it, and measure with it."""
        with TemporaryDirectory() as folder:
            place = Path(folder) / "prompt.vpq"
            stored.save(arm.packed, place)
            size, packed = place.stat().st_size, stored.load(place)
        task = self.task(arm.seed)
        again = measure(with_context(self.tower, task, packed.unpacked()), task)
        return {
            "bytes of the file": size,
            "of these, its header": stored.header_bytes(len(packed.shape)),
            "bytes claimed": arm.bytes,
            "largest change of a logit": float((again["base"] - arm.logits["base"]).abs().max()),
            "answers that change": int((again["base"].argmax(1) != arm.logits["base"].argmax(1)).sum()),
        }

    def nearest_words(self, context: Tensor, n: int = 3) -> list[list[str]]:
        """For each vector of a context (M, width) the words whose embeddings are nearest, the nearest first."""
        table = self.clip.token_embedding.weight
        known = sorted({int(i) for text in captions.TEMPLATES + captions.NAMES for i in tokenize([text])[0] if i})
        known = torch.tensor(known[:-2], device=table.device)  # without the tokens that begin and end a text
        found = torch.cdist(context.to(table.device), table[known]).topk(n, largest=False).indices
        return [[tokenizer().decode([int(known[k])]).strip() for k in line] for line in found]

    def conclusion(self, record: dict) -> Markdown:
        """Base, new and their harmonic mean, by arm: means over the seeds that finished."""
        lines = ["| arm | base | new | harmonic mean | bytes | seeds |", "|---|---|---|---|---|---|"]
        for arm in dict.fromkeys(r["arm"] for r in record["rows"]):
            rows = [r for r in record["rows"] if r["arm"] == arm and r["status"] == "ok"]
            of = {g: {r["seed"]: r["metrics"]["accuracy"] for r in rows if r["group"] == g} for g in GROUPS}
            both = [
                2 * b * of["new"][s] / max(b + of["new"][s], 1e-12) for s, b in of["base"].items() if s in of["new"]
            ]
            texts = [
                f"{np.mean(list(v)):.3f}" if len(v) else "—" for v in (of["base"].values(), of["new"].values(), both)
            ]
            size = rows[0]["bytes"] if rows else "—"
            lines.append(f"| {arm} | {' | '.join(texts)} | {size} | {len(of['base'])} |")
        return Markdown("\n".join(lines))

    def save(self, arms: list[Arm], record: dict) -> None:
        """Write the learned contexts, then, last, the record."""
        kept = {f"{arm.name}/{arm.seed}": arm.used.cpu().contiguous() for arm in arms if arm.used is not None}
        kept |= {"none": torch.zeros(0)} if not kept else {}
        place = paths.MODELS / self.scale / self.backbone / "prompts" / f"{self.target}-{self.name}.safetensors"
        atomic.write_bytes(place, serialize(kept))
        results.write(results.path(self.cell), record)


def _by_arm(arms: list[Arm], value) -> dict[str, dict[str, list]]:
    found: dict[str, dict[str, list]] = {}
    for arm in arms:
        found.setdefault(arm.name, {})[str(arm.seed)] = value(arm)
    return found


def _histograms(arm: Arm) -> dict:
    epochs = [entry["epoch"] for entry in arm.learned.curve]
    counts = {
        str(epoch): weights.histogram(standardise(context.double())[0].flatten().cpu().numpy()).tolist()
        for epoch, context in zip(epochs, arm.learned.contexts, strict=True)
    }
    return {"edges": weights.EDGES.tolist(), "counts": counts}
