"""The transfer cell: one compressed backbone, one target, every method, budget and seed."""

import base64
import io
import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from IPython.display import Markdown
from PIL import Image
from safetensors.torch import save as serialize

from studies import results
from studies.cells import Cell
from studies.figures import style
from studies.hidden_cost.settings import Settings
from studies.rows import head, row
from vpstudy import atomic, paths
from vpstudy.calibration import temperature
from vpstudy.calibration.legacy import legacy_ece
from vpstudy.calibration.metrics import debiased_ece, expected_calibration_error, negative_log_likelihood
from vpstudy.compression.compressed import Compressed, obtain
from vpstudy.data import examples
from vpstudy.models.fused import fused
from vpstudy.progress import track
from vpstudy.runtime import configure
from vpstudy.settings import Execution, section
from vpstudy.training.controls import CONTROLS
from vpstudy.training.data import TransferData
from vpstudy.training.fine_tuning import fine_tuning
from vpstudy.training.linear_probe import linear_probe
from vpstudy.training.outcome import Outcome
from vpstudy.training.settings import FineTuning, LinearProbe, VisualPrompting
from vpstudy.training.visual_prompting import mapping_of, visual_prompting

LEGACY_BATCH = 256  # test pictures in a batch, which the paper's quantity depends on; the largest of the paper


@dataclass
class TransferCell:
    """Adapt `compression` of `backbone` to `target` in every way the parameters ask for."""

    scale: str
    backbone: str
    compression: str
    target: str

    def __post_init__(self):
        axes = {"backbone": self.backbone, "compression": self.compression, "target": self.target}
        self.cell = Cell.of("transfer", "hidden_cost", self.scale, **axes)
        self.settings = section("hidden_cost.settings", Settings, self.scale)
        self.runtime = configure(section("execution", Execution, self.scale))
        self.compressed: Compressed = obtain(self.scale, self.backbone, self.compression)
        self.compressed.backbone.to(self.runtime.device)
        self.frozen = fused(self.compressed.backbone, self.settings.linear_probe.size)
        self.data = TransferData(self.target, self.settings.validation_per_class, self.runtime)
        self.tuning: dict[tuple[str, str], list[dict]] = {}  # what each learning rate reached on validation

    @property
    def arms(self) -> list[tuple[str, int | str]]:
        """Every (method or control, budget) of the cell."""
        every, largest = self.settings.budgets, self._largest_budget
        budgets = {
            "visual_prompting": every,
            "linear_probe": every,
        }
        tuned = self.settings.fine_tuning_compressions
        if tuned == "all" or self.compression in tuned:
            budgets["fine_tuning"] = self.settings.fine_tuning_budgets
        if self.compression in self.settings.control_compressions:
            budgets |= {name: every if CONTROLS[name].every_budget else [largest] for name in self.settings.controls}
        return [(method, budget) for method, of_method in budgets.items() for budget in of_method]

    @property
    def _largest_budget(self) -> int | str:
        return max(self.settings.budgets, key=lambda budget: float("inf") if budget == "all" else budget)

    def adapt(self, method: str, budget: int | str, seed: int, rate: float | None = None) -> Outcome:
        """Train one arm: a method or a control, at one of its learning rates (the first, if none is given)."""
        settings = self.schedule(method, budget)
        settings = settings if rate is None else settings.at(rate)
        control = CONTROLS.get(method)
        how, curves = control.method if control else method, self.settings.test_curves
        if how == "visual_prompting":
            return visual_prompting(self.frozen, self.data, budget, seed, settings, method=method, test_curves=curves)
        if how == "linear_probe":
            return linear_probe(self.frozen, self.data, budget, seed, settings, method=method, test_curves=curves)
        constrain = self.compressed.constrain
        return fine_tuning(
            self.compressed.backbone,
            self.data,
            budget,
            seed,
            settings,
            constrain=constrain,
            method=method,
            test_curves=curves,
        )

    def schedule(self, method: str, budget: int | str) -> VisualPrompting | LinearProbe | FineTuning:
        """The settings of a method or a control."""
        if method not in CONTROLS:
            return getattr(self.settings, method)
        control, change = CONTROLS[method], dict(CONTROLS[method].change)
        settings = getattr(self.settings, control.method)
        if change.get("inner") == "visual_prompting.inner":
            change["inner"] = self.settings.visual_prompting.prompts["border"].inner
        if change.get("steps") == "epochs":
            pictures = len(self.data.split(budget, self.settings.seeds[0]).train)
            change["steps"] = settings.epochs * math.ceil(pictures / settings.batch)
            change["evaluations"] = min(settings.evaluations, change["steps"])
        return settings.model_copy(update=change)

    def run(self) -> list[Outcome]:
        """Train every arm. The first seed tries every learning rate, and its validation split chooses for all seeds."""
        outcomes, (first, *others) = [], self.settings.seeds
        for method, budget in track(self.arms, f"{self.compression} on {self.target}"):
            rates = self.schedule(method, budget).learning_rates
            tried = [self.adapt(method, budget, first, rate) for rate in rates]
            best = max(tried, key=lambda outcome: outcome.rank)
            self.tuning[method, str(budget)] = [
                {"learning_rate": o.learning_rate, "validation_accuracy": o.rank[0], "validation_nll": -o.rank[1]}
                for o in tried
            ]
            outcomes += [best, *(self.adapt(method, budget, seed, best.learning_rate) for seed in others)]
        return outcomes

    def record(self, outcomes: list[Outcome]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        record = head(self.cell, self.runtime, hidden_cost=self.settings)
        record["facts"] = {
            "classes": self.data.class_names,
            "source_classes": self.compressed.backbone.class_names,
            "pictures": self.pictures,
            "tuning": [
                {"method": method, "budget": budget, "tried": tried} for (method, budget), tried in self.tuning.items()
            ],
        }
        return record | {"rows": [self._row(outcome) for outcome in outcomes]}

    @property
    def pictures(self) -> dict:
        """How many pictures train at each budget, choose, and test."""
        seed = self.settings.seeds[0]
        splits = {str(budget): self.data.split(budget, seed) for budget in self.settings.budgets}
        any_split = next(iter(splits.values()))
        return {
            "train": {budget: len(split.train) for budget, split in splits.items()},
            "validation": len(any_split.validation),
            "test": len(any_split.test),
        }

    def labels(self, part: str, outcome: Outcome) -> np.ndarray:
        """The true labels (N,) of "validation" or "test", in the order of the outcome's probabilities."""
        indices = getattr(self.data.split(outcome.budget, outcome.seed), part)
        return self.data.labels[torch.as_tensor(indices)].cpu().numpy()

    def _row(self, outcome: Outcome) -> dict:
        identity = {"method": outcome.method, "budget": str(outcome.budget), "seed": outcome.seed}
        if outcome.status != "ok":
            nothing = {
                "metrics": None,
                "reliability": None,
                "chosen": None,
                "mapping": None,
                "prompt_png": None,
                "learning_rate": outcome.learning_rate,
                "steps": outcome.steps,
                "curve": None,
            }
            return identity | {"status": outcome.status, "reason": outcome.reason} | nothing
        measured = row(
            outcome.method,
            outcome.probabilities["test"],
            self.labels("test", outcome),
            budget=outcome.budget,
            seed=outcome.seed,
        )
        measured["metrics"] |= self._scaled(outcome)
        prompted = outcome.method == "visual_prompting"
        first = outcome.seed == self.settings.seeds[0]
        return measured | {
            "chosen": {key: value for key, value in outcome.chosen.items() if not key.startswith("test_")},
            "mapping": mapping_of(outcome.artefact).tolist() if prompted else None,
            "prompt_png": self._png(outcome) if prompted and first else None,
            "learning_rate": outcome.learning_rate,
            "steps": outcome.steps,
            "curve": outcome.history if self.settings.test_curves else None,
        }

    def _scaled(self, outcome: Outcome) -> dict[str, float]:
        """What the paper's code logs as its calibration error, and calibration after temperature scaling."""
        logits, labels = outcome.logits["test"], self.labels("test", outcome)
        fitted = temperature.fit_temperature(outcome.logits["validation"], self.labels("validation", outcome))
        scaled = temperature.apply(logits, fitted)
        return {
            "legacy_ece": legacy_ece(logits, labels, LEGACY_BATCH),
            "temperature": fitted,
            "ece_scaled": expected_calibration_error(scaled, labels),
            "ece_debiased_scaled": debiased_ece(scaled, labels),
            "nll_scaled": negative_log_likelihood(scaled, labels),
        }

    def shown(self, outcomes: list[Outcome]) -> Outcome | None:
        """The run whose prompt is shown: at the largest budget, of the first seed that did not diverge there."""
        wanted = ("visual_prompting", self._largest_budget, "ok")
        prompts = [o for o in outcomes if (o.method, o.budget, o.status) == wanted]
        return prompts[0] if prompts else None

    def prompt(self, outcome: Outcome) -> torch.nn.Module:
        """The learned prompt of one run."""
        prompt = self.settings.visual_prompting.make_prompt(seed=0)
        learned = {k.removeprefix("prompt."): v for k, v in outcome.artefact.items() if k.startswith("prompt.")}
        prompt.load_state_dict(learned)
        return prompt.eval()

    def prompt_and_example(self, shown: Outcome) -> tuple[torch.Tensor, torch.Tensor]:
        """The learned prompt and a test picture inside it, both (3, canvas, canvas) in [0, 1]."""
        prompt = self.prompt(shown)
        picture = self.data.pictures(prompt.inner)[self.data.target.test[0]].cpu().float() / 255
        return prompt.picture(), prompt(picture[None])[0].detach()

    def mapping_pairs(self, shown: Outcome) -> tuple[list, list[str], list, list[str]]:
        """For each target class: a picture, its name, a picture of the source class in its place, and its name."""
        mapping = mapping_of(shown.artefact).tolist()
        first = [int((self.data.labels == k).nonzero()[0]) for k in range(len(mapping))]
        size = self.settings.visual_prompting.canvas
        targets = [self.data.pictures(size)[index].cpu() for index in first]
        names = [self.compressed.backbone.class_names[source] for source in mapping]
        return targets, self.data.class_names, [examples.of_source(name, size) for name in names], names

    def _png(self, outcome: Outcome) -> str:
        picture = (self.prompt(outcome).picture().permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png", optimize=True)
        return base64.b64encode(buffer.getvalue()).decode()

    def conclusion(self, record: dict) -> Markdown:
        """Accuracy and debiased ECE by method and budget: means over the seeds that finished."""
        lines = ["| method | pictures per class | accuracy | debiased ECE | seeds |", "|---|---|---|---|---|"]
        for (method, budget), rows in groupby(record["rows"], lambda r: (r["method"], r["budget"])):
            metrics = [r["metrics"] for r in rows if r["status"] == "ok"]
            means = [
                f"{np.mean([m[name] for m in metrics]):.3f}" if metrics else "diverged"
                for name in ("accuracy", "ece_debiased")
            ]
            lines.append(f"| {style.method(method).label} | {budget} | {means[0]} | {means[1]} | {len(metrics)} |")
        return Markdown("\n".join(lines))

    def save(self, outcomes: list[Outcome], record: dict) -> None:
        """Write probabilities and learned artefacts, then, last, the record."""
        probabilities, artefacts = {}, {}
        for outcome in outcomes:
            key = f"{outcome.method}/{outcome.budget}/{outcome.seed}"
            for part, values in outcome.probabilities.items():
                probabilities[f"{key}/{part}"] = torch.from_numpy(values)
                probabilities[f"{key}/{part}/labels"] = torch.from_numpy(self.labels(part, outcome))
            if outcome.method != "fine_tuning":  # whole models: large, and quickly trained again
                artefacts |= {f"{key}/{name}": tensor.contiguous() for name, tensor in outcome.artefact.items()}
        place = paths.PROBABILITIES / self.scale / f"{self.cell.file}.safetensors"
        atomic.write_bytes(place, serialize(probabilities))
        place = paths.MODELS / self.scale / self.backbone / "adapted" / f"{self.compression}-{self.target}.safetensors"
        atomic.write_bytes(place, serialize(artefacts))
        results.write(results.path(self.cell), record)
