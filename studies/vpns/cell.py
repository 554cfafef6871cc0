"""The pruning cell: one backbone, one target and one method, with its sparsities, seeds and controls inside."""

import base64
import io
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from IPython.display import Markdown
from PIL import Image
from safetensors.torch import save as serialize
from scipy.special import softmax

from studies import results
from studies.cells import Cell
from studies.rows import head, row
from vpstudy import atomic, paths
from vpstudy.calibration.metrics import negative_log_likelihood
from vpstudy.compression.channels import macs
from vpstudy.compression.integer import latency
from vpstudy.data import glyphs
from vpstudy.models import backbones
from vpstudy.progress import track
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.data import TransferData
from vpstudy.training.mask_search.finders import FINDERS, PUBLISHED, rewound
from vpstudy.training.mask_search.methods import CONTROLS, METHODS
from vpstudy.training.mask_search.run import Found, Run
from vpstudy.training.mask_search.settings import MaskSearch
from vpstudy.training.mask_search.subnetwork import Subnetwork
from vpstudy.training.mask_search.training import Diverged

BATCH = 256  # pictures of a forward pass
TIMED = 64  # pictures of a forward pass that is timed


@dataclass(frozen=True)
class Pruned:
    """One trained network of a cell.

    Attributes
    ----------
    arm
        "main"; "published", with as many steps as the paper gives; or a control.
    factor
        Of the learning rates.
    passes
        Forward and backward passes over a batch, in all.
    logits
        (N, K) by split, "validation" or "test", and by whether the prompt was there, "bare" or "prompted".
    rank
        Accuracy and −NLL on validation without the prompt, larger is better; a run that diverged is below all others.
    """

    arm: str
    sparsity: float
    seed: int
    factor: float
    passes: int
    seconds: float
    found: Found | None = None
    network: Subnetwork | None = None
    logits: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    rank: tuple[float, float] = (-1.0, 0.0)
    reason: str | None = None


class PruneCell:
    """Prune `backbone` for `target` by `pruner`, at every sparsity and with every seed of the parameters."""

    def __init__(self, scale: str, backbone: str, target: str, pruner: str):
        self.scale, self.backbone, self.target, self.name = scale, backbone, target, pruner
        axes = {"backbone": backbone, "target": target, "pruner": pruner}
        self.cell = Cell.of("prune_with_prompts", "vpns", scale, **axes)
        self.settings = section("vpns.settings", MaskSearch, scale)
        if pruner not in METHODS:
            raise ValueError(
                f"pruner {pruner!r} is unknown; allowed: {', '.join(METHODS)} (vpstudy/training/mask_search/methods.py)"
            )
        self.method = METHODS[pruner]
        self.runtime = configure(section("execution", Execution, scale))
        self.source = backbones.load(paths.MODELS / scale / backbone / "source.safetensors")
        self.data = TransferData(target, self.settings.validation_per_class, self.runtime)
        self.tuning: list[dict] = []
        self._cache: dict = {}

    @property
    def sparsities(self) -> list[float]:
        """Shares of the weights that are pruned; of the channels, where a method prunes those."""
        by_role = {
            "dense": [0.0],
            "channels": self.settings.channel_ratios,
            "ablation": self.settings.control_sparsities,
        }
        return by_role.get(self.method.role, self.settings.sparsities)

    @property
    def arms(self) -> list[tuple[str, float]]:
        """Every (arm, sparsity), each after those that it builds on."""
        also = ["published"] if self.name in PUBLISHED else []
        controls = [name for name in self.settings.controls if self.name in CONTROLS[name].methods]
        at = [s for s in self.sparsities if self.method.role == "dense" or s in self.settings.control_sparsities]
        return [(arm, s) for s in self.sparsities for arm in ["main", *also, *(controls if s in at else [])]]

    def run(self) -> list[Pruned]:
        """Train every arm; the first seed tries every factor, and its validation split chooses for all seeds."""
        done: list[Pruned] = []
        first, *others = self.settings.seeds
        factors: dict[float, float] = {}
        for arm, sparsity in track(self.arms, f"{self.name} on {self.target}"):
            if arm in ("main", "published"):
                tried = [self.prune(arm, sparsity, first, factor) for factor in self.settings.factors]
                best = max(tried, key=lambda pruned: pruned.rank)
                self.tuning.append(
                    {
                        "arm": arm,
                        "sparsity": sparsity,
                        "tried": [
                            {"factor": p.factor, "validation_accuracy": p.rank[0], "validation_nll": -p.rank[1]}
                            for p in tried
                        ],
                    }
                )
                factors[sparsity] = best.factor if arm == "main" else factors[sparsity]
                done += [best, *(self.prune(arm, sparsity, seed, best.factor) for seed in others)]
            else:
                mains = {p.seed: p for p in done if (p.arm, p.sparsity) == ("main", sparsity)}
                done += [self.control(arm, mains[seed]) for seed in self.settings.seeds]
        return done

    def prune(self, arm: str, sparsity: float, seed: int, factor: float) -> Pruned:
        """Find a mask and tune the network under it."""
        run, start = self._run(seed, factor), time.perf_counter()
        try:
            found = (PUBLISHED if arm == "published" else FINDERS)[self.method.finder](run, sparsity)
            passes = "alternating" if self.method.two_pass else "augmented"
            network = found.network
            if found.tuning:
                network = run.tuned(found, passes, found.tuning, self.method.tuning_prompt)
            return self._measured(arm, sparsity, run, found, network, found.passes + found.tuning, start)
        except Diverged as error:
            return Pruned(arm, sparsity, seed, factor, 0, time.perf_counter() - start, reason=str(error))

    def control(self, arm: str, main: Pruned) -> Pruned:
        """What is done with the mask of a main run beside its own tuning; see `CONTROLS`."""
        run, start, sparsity, found = self._run(main.seed, main.factor), time.perf_counter(), main.sparsity, main.found
        if found is None:
            return Pruned(arm, sparsity, main.seed, main.factor, 0, 0.0, reason=f"the main run: {main.reason}")
        if not found.tuning:  # weights that came out tuned start again, as under every other mask
            found = rewound(run, found.mask, found.passes, self.settings.steps // 2)
        steps = found.tuning
        try:
            if arm == "source_mask":
                found = FINDERS[self.method.finder](self._run(main.seed, main.factor, on_source=True), sparsity)
                passes = "alternating" if self.method.two_pass else "augmented"
                network, steps = run.tuned(found, passes, found.tuning, self.method.tuning_prompt), found.tuning
            elif arm == "untouched":
                network, steps = found.network, 0
            elif arm == "bn":
                network, steps = run.recalibrated(found.network), 0
            elif arm == "prompt_only":
                network, steps = run.prompted(found.network), self.settings.steps // 2
            elif arm == "prompt_after":
                network, steps = run.prompted(main.network), self.settings.steps // 2
            else:
                network = run.tuned(found, "alternating", steps, prompt=arm == "prompted")
            spent = main.passes if arm == "prompt_after" else found.passes
            return self._measured(arm, sparsity, run, found, network, spent + steps, start)
        except Diverged as error:
            return Pruned(arm, sparsity, main.seed, main.factor, 0, time.perf_counter() - start, reason=str(error))

    def _run(self, seed: int, factor: float, on_source: bool = False) -> Run:
        return Run(self.source, self.data, self.settings, self.method, seed, factor, on_source, self._cache)

    def _measured(
        self, arm: str, sparsity: float, run: Run, found: Found, network: Subnetwork, passes: int, start: float
    ) -> Pruned:
        seconds = time.perf_counter() - start + run.saved
        logits = {}
        for part in ("validation", "test"):
            inputs = run.pictures[torch.as_tensor(self._indices(part, run.seed))]
            for view in ("bare", "prompted") if network.prompt is not None else ("bare",):
                logits[part, view] = self._logits(network, inputs, view == "prompted")
        chances = softmax(logits["validation", "bare"].astype(float), axis=1)
        labels = self.labels("validation", run.seed)
        rank = float((chances.argmax(1) == labels).mean()), -negative_log_likelihood(chances, labels)
        return Pruned(arm, sparsity, run.seed, run.factor, passes, seconds, found, network, logits, rank)

    def _logits(self, network: Subnetwork, inputs: torch.Tensor, prompted: bool) -> np.ndarray:
        network.eval()
        with torch.inference_mode(), self.runtime.autocast():
            logits = torch.cat([network(chunk.float() / 255, prompted).float() for chunk in inputs.split(BATCH)])
        if not torch.isfinite(logits).all():
            raise Diverged("the logits on held-out pictures are not finite")
        return logits.cpu().numpy()

    def _indices(self, part: str, seed: int) -> np.ndarray:
        return getattr(self.data.split(self.settings.budget, seed), part)

    def labels(self, part: str, seed: int) -> np.ndarray:
        """The true labels (N,) of "validation" or "test"."""
        return self.data.labels[torch.as_tensor(self._indices(part, seed))].cpu().numpy()

    def record(self, done: list[Pruned]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        seed = self.settings.seeds[0]
        split = self.data.split(self.settings.budget, seed)
        finished = [p for p in done if p.network is not None]
        mains = [p for p in finished if p.arm == "main" and p.seed == seed]
        record = head(self.cell, self.runtime, vpns=self.settings)
        record["facts"] = {
            "classes": self.data.class_names,
            "source_classes": self.source.class_names,
            "mapping": self._run(seed, 1.0).mapping.tolist(),
            "pictures": {part: len(getattr(split, part)) for part in ("train", "validation", "test")},
            "tuning": self.tuning,
            "emptied": {  # layers without any weight left, by sparsity and seed
                f"{p.sparsity:g} {p.seed}": [
                    name for name, density in p.found.mask.layer_densities.items() if not density
                ]
                for p in finished
                if p.arm == "main"
            },
            "layers": {f"{p.sparsity:g}": p.found.mask.layer_densities for p in mains if p.sparsity},
            "networks": {f"{p.sparsity:g}": self._size(p) for p in mains},
            "minutes": {
                f"{arm} {sparsity:g}": round(np.mean([p.seconds for p in runs]) / 60, 3)
                for (arm, sparsity), runs in _by_arm(finished).items()
            },
        }
        return record | {"rows": [line for pruned in done for line in self._rows(pruned)]}

    def _size(self, pruned: Pruned) -> dict:
        """What is left of the network. Latency, like the minutes of arms, differs from run to run."""
        backbone = pruned.network.backbone.frozen()
        mask, classes = pruned.found.mask, len(self.data.class_names)
        head = len(self.source.class_names) - classes  # outputs of the classifier that no target class is mapped to
        unused = head * (backbone.classifier.in_features + 1)
        others = sum(p.numel() for p in backbone.model.parameters()) - mask.size
        side = self.settings.canvas
        pictures = torch.rand(TIMED, 3, side, side, device=self.runtime.device)
        return {
            "macs": macs(backbone, side),
            "parameters": mask.kept + others,
            "parameters_in_use": mask.kept + others - unused,
            "sparsity": mask.sparsity,
            "sparsity_in_use": (mask.size - mask.kept) / (mask.size + others - unused),
            "latency_ms": round(latency(backbone, pictures), 2),
            "latency_batch": TIMED,
        }

    def _rows(self, pruned: Pruned) -> list[dict]:
        views = dict.fromkeys(view for _, view in pruned.logits) or self._views(pruned.arm)
        return [self._row(pruned, view) for view in views]

    def _views(self, arm: str) -> list[str]:
        """Of a run that diverged: those that it would have had."""
        own = arm in ("main", "source_mask") and self.method.tuning_prompt
        also = arm == "bn" and self.method.finding_prompt
        return ["bare", "prompted"] if own or also or arm in ("prompted", "prompt_only", "prompt_after") else ["bare"]

    def _row(self, pruned: Pruned, view: str) -> dict:
        name = f"{pruned.arm} {pruned.sparsity:g} {view}"
        more = {
            "arm": pruned.arm,
            "sparsity": pruned.sparsity,
            "view": view,
            "factor": pruned.factor,
            "passes": pruned.passes,
            "prompt_png": None,
            "collapsed": None,
        }
        if pruned.reason:
            identity = {"method": name, "budget": str(self.settings.budget), "seed": pruned.seed}
            nothing = {"status": "diverged", "reason": pruned.reason, "metrics": None, "reliability": None}
            return identity | nothing | more
        probabilities = softmax(pruned.logits["test", view].astype(float), axis=1)
        labels = self.labels("test", pruned.seed)
        more["collapsed"] = len(set(probabilities.argmax(1).tolist())) == 1  # one answer whatever it sees
        if view == "prompted" and pruned.seed == self.settings.seeds[0]:
            more["prompt_png"] = _png(pruned.network.prompt.cpu().picture())
        return row(name, probabilities, labels, budget=self.settings.budget, seed=pruned.seed) | more

    def shown(self, done: list[Pruned]) -> Pruned | None:
        """The main run that is shown: of the first seed, at the highest sparsity that did not diverge."""
        mains = [p for p in done if p.arm == "main" and p.network is not None and p.seed == self.settings.seeds[0]]
        return mains[-1] if mains else None

    def prompt_and_example(self, shown: Pruned) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The learned prompt and a test picture with it, both (3, canvas, canvas) in [0, 1]; None without a prompt."""
        prompt = shown.network.prompt
        if prompt is None:
            return None
        picture = self._run(shown.seed, 1.0).pictures[self.data.target.test[0]].cpu().float() / 255
        prompt = prompt.cpu().eval()
        return prompt.picture(), prompt(picture[None])[0].detach()

    def mapping_pairs(self) -> tuple[list, list[str], list, list[str]]:
        """For each target class: a picture, its name, a picture of the source class in its place, and its name."""
        run, size = self._run(self.settings.seeds[0], 1.0), self.settings.canvas
        mapping = run.mapping.tolist()
        first = [int((self.data.labels == k).nonzero()[0]) for k in range(len(mapping))]
        targets = [run.pictures[index].cpu() for index in first]
        names = [self.source.class_names[source] for source in mapping]
        return targets, self.data.class_names, [glyphs.example(source, size) for source in mapping], names

    def conclusion(self, record: dict) -> Markdown:
        """Accuracy and debiased ECE of each arm: means over the seeds that finished."""
        lines = ["| arm | pruned | measured | accuracy | debiased ECE | seeds |", "|---|---|---|---|---|---|"]
        groups: dict[tuple[str, float, str], list[dict]] = {}
        for each in record["rows"]:
            groups.setdefault((each["arm"], each["sparsity"], each["view"]), []).append(each)
        for (arm, sparsity, view), rows in groups.items():
            metrics = [r["metrics"] for r in rows if r["status"] == "ok"]
            means = [
                f"{np.mean([m[name] for m in metrics]):.3f}" if metrics else "diverged"
                for name in ("accuracy", "ece_debiased")
            ]
            label = CONTROLS[arm].label if arm in CONTROLS else arm
            seen = "with the prompt" if view == "prompted" else "without a prompt"
            lines.append(f"| {label} | {sparsity:.0%} | {seen} | {means[0]} | {means[1]} | {len(metrics)} |")
        return Markdown("\n".join(lines))

    def save(self, done: list[Pruned], record: dict) -> None:
        """Write probabilities and masks with prompts, then, last, the record."""
        probabilities, artefacts = {}, {}
        for pruned in done:
            key = f"{pruned.arm}/{pruned.sparsity:g}/{pruned.seed}"
            for (part, view), logits in pruned.logits.items():
                values = softmax(logits.astype(float), axis=1).astype(np.float32)
                probabilities[f"{key}/{part}/{view}"] = torch.from_numpy(values)
                probabilities[f"{key}/{part}/labels"] = torch.from_numpy(self.labels(part, pruned.seed))
            if pruned.network is not None and pruned.network.prompt is not None:
                for name, tensor in pruned.network.prompt.state_dict().items():
                    artefacts[f"{key}/prompt.{name}"] = tensor.cpu().contiguous()
            if pruned.found is not None and pruned.arm == "main" and pruned.seed == self.settings.seeds[0]:
                artefacts |= pruned.found.mask.to_tensors(f"{key}/mask.")
        place = paths.PROBABILITIES / self.scale / f"{self.cell.file}.safetensors"
        atomic.write_bytes(place, serialize(probabilities))
        place = paths.MODELS / self.scale / self.backbone / "pruned" / f"{self.target}-{self.name}.safetensors"
        atomic.write_bytes(place, serialize(artefacts))
        results.write(results.path(self.cell), record)


def _by_arm(done: list[Pruned]) -> dict[tuple[str, float], list[Pruned]]:
    groups: dict[tuple[str, float], list[Pruned]] = {}
    for pruned in done:
        groups.setdefault((pruned.arm, pruned.sparsity), []).append(pruned)
    return groups


def _png(picture: torch.Tensor) -> str:
    pixels = (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
