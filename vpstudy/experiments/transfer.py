"""The transfer cell: one compressed backbone, one target, every method, budget and seed."""

import base64
import io
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
import torch
from IPython.display import Markdown
from PIL import Image
from safetensors.torch import save as serialize

from vpstudy import atomic, paths, results
from vpstudy.cells import Cell
from vpstudy.compression.compressed import Compressed, obtain
from vpstudy.data import glyphs
from vpstudy.execution.progress import track
from vpstudy.experiments.base import head, row
from vpstudy.parameters.base import Execution, section
from vpstudy.parameters.hidden_cost import HiddenCost
from vpstudy.prompts.visual import PaddedPrompt
from vpstudy.runtime import configure
from vpstudy.transfer.data import TransferData
from vpstudy.transfer.fine_tuning import fine_tuning
from vpstudy.transfer.linear_probe import linear_probe
from vpstudy.transfer.outcome import Outcome
from vpstudy.transfer.visual_prompting import visual_prompting


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
        self.settings = section("hidden_cost", HiddenCost, self.scale)
        self.runtime = configure(section("execution", Execution, self.scale))
        self.compressed: Compressed = obtain(self.scale, self.backbone, self.compression)
        self.compressed.backbone.to(self.runtime.device)
        self.data = TransferData(self.target, self.settings.validation_per_class, self.runtime)

    @property
    def arms(self) -> list[tuple[str, int | str, int]]:
        """Every (method, budget, seed) of the cell."""
        budgets = {
            "visual_prompting": self.settings.budgets,
            "linear_probe": self.settings.budgets,
            "fine_tuning": self.settings.fine_tuning_budgets,
        }
        return [(m, b, s) for m, of_m in budgets.items() for b, s in product(of_m, self.settings.seeds)]

    def adapt(self, method: str, budget: int | str, seed: int) -> Outcome:
        """Train one arm."""
        backbone, settings = self.compressed.backbone, getattr(self.settings, method)
        if method == "visual_prompting":
            return visual_prompting(backbone, self.data, budget, seed, settings)
        if method == "linear_probe":
            return linear_probe(backbone, self.data, budget, seed, settings)
        return fine_tuning(backbone, self.data, budget, seed, settings, self.compressed.constrain)

    def run(self) -> list[Outcome]:
        """Train every arm."""
        label = f"{self.compression} on {self.target}"
        return [self.adapt(*arm) for arm in track(self.arms, label)]

    def record(self, outcomes: list[Outcome]) -> dict:
        """Everything that figures, tables and claims read of this cell."""
        record = head(self.cell, self.runtime, hidden_cost=_without_axes(self.settings))
        record["facts"] = {
            "classes": self.data.class_names,
            "source_classes": self.compressed.backbone.class_names,
            "pictures": self.pictures,
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
            }
            return identity | {"status": outcome.status, "reason": outcome.reason} | nothing
        measured = row(
            outcome.method,
            outcome.probabilities["test"],
            self.labels("test", outcome),
            budget=outcome.budget,
            seed=outcome.seed,
        )
        mapping, first = outcome.artefact.get("mapping"), outcome.seed == self.settings.seeds[0]
        prompted = outcome.method == "visual_prompting"
        return measured | {
            "chosen": outcome.chosen,
            "mapping": mapping.tolist() if prompted else None,
            "prompt_png": self._png(outcome) if prompted and first else None,
        }

    def shown(self, outcomes: list[Outcome]) -> Outcome | None:
        """The run whose prompt is shown: at the largest budget, of the first seed that did not diverge there."""
        largest = max(self.settings.budgets, key=lambda budget: float("inf") if budget == "all" else budget)
        prompts = [o for o in outcomes if (o.method, o.budget, o.status) == ("visual_prompting", largest, "ok")]
        return prompts[0] if prompts else None

    def prompt(self, outcome: Outcome) -> PaddedPrompt:
        """The learned prompt of one run."""
        settings = self.settings.visual_prompting
        prompt = PaddedPrompt(settings.inner, settings.canvas)
        prompt.load_state_dict({"theta": outcome.artefact["prompt.theta"]})
        return prompt

    def prompt_and_example(self, shown: Outcome) -> tuple[torch.Tensor, torch.Tensor]:
        """The learned prompt and a test picture inside it, both (3, canvas, canvas) in [0, 1]."""
        prompt = self.prompt(shown)
        picture = self.data.pictures(prompt.inner)[self.data.target.test[0]].cpu().float() / 255
        return prompt.picture(), prompt(picture[None])[0].detach()

    def mapping_pairs(self, shown: Outcome) -> tuple[list, list[str], list, list[str]]:
        """For each target class: a picture, its name, a picture of the source class in its place, and its name."""
        mapping = shown.artefact["mapping"].tolist()
        first = [int((self.data.labels == k).nonzero()[0]) for k in range(len(mapping))]
        size = self.settings.visual_prompting.canvas
        targets = [self.data.pictures(size)[index].cpu() for index in first]
        names = [self.compressed.backbone.class_names[source] for source in mapping]
        return targets, self.data.class_names, [glyphs.example(source, size) for source in mapping], names

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
            words = method.replace("_", " ")
            lines.append(f"| {words} | {budget} | {means[0]} | {means[1]} | {len(metrics)} |")
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


def _without_axes(settings: HiddenCost):
    """The settings that shape a cell; the other targets of the grid do not."""
    return settings.model_copy(update={"targets": []})
