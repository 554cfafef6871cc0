"""The iterative magnitude pruning cell: all rounds of a source checkpoint, each continued from the last."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from studies import checkpoints
from studies.backbones import inputs
from studies.cells import Cell
from studies.parameters import Parameters
from studies.rows import head, row
from vpstudy import paths
from vpstudy.compression.family import sparsity_text
from vpstudy.compression.iterative import Round, iterative_magnitude_pruning, load_round
from vpstudy.models import backbones
from vpstudy.runtime import configure
from vpstudy.training.pretraining import train_on_source, upstream_probabilities

# Modules that determine the bits of a round.
CODE = (
    "vpstudy/training/pretraining.py",
    "vpstudy/data/glyphs.py",
    "vpstudy/compression/iterative.py",
    "vpstudy/compression/magnitude.py",
    "vpstudy/compression/masks.py",
)


class ImpCell:
    """In each round: prune the smallest weights, rewind the rest to an early step, retrain."""

    def __init__(self, parameters: Parameters, backbone: str, save: bool, checkpoint: int = 0):
        self.cell = Cell.of("imp", "backbones", parameters.scale, backbone=backbone)
        self.settings, self.source, self.save = parameters.imp, parameters.source, save
        self.runtime = configure(parameters.execution, chain=True)
        self.trained, self.early = (
            inputs.path(parameters, backbone, f"{name}/{checkpoint}.safetensors") for name in ("source", "early")
        )
        self.folder, self.checkpoint = self.trained.parents[1] / "imp", checkpoint
        self.checkpoints = checkpoints.number(parameters, backbone)

    def prune(self) -> list[Round]:
        """Run every round that is not on disk yet; without `save`, in a temporary folder."""
        model, early = backbones.load(self.trained).to(self.runtime.device), backbones.load(self.early)
        if self.save:
            self._remove_strays()
        else:
            self._scratch = tempfile.TemporaryDirectory()
        return iterative_magnitude_pruning(
            model.model,
            model.prunable,
            early.model.state_dict(),
            self.settings.rounds,
            lambda _, place: self._retrain(model, place),
            self.folder / str(self.checkpoint) if self.save else Path(self._scratch.name),
            identity=self._identity() if self.save else "",
        )

    def measure(self, rounds: list[Round]) -> list[dict]:
        """Upstream accuracy and calibration after each round."""
        model, rows = backbones.load(self.trained), []
        model.to(self.runtime.device)
        for finished in rounds:
            model.model.load_state_dict(load_round(finished.path)[0])
            method = f"upstream-{sparsity_text(finished.nominal_sparsity)}"
            rows.append(row(method, *upstream_probabilities(model, self.source, self.runtime)))
        return rows

    def table(self, rounds: list[Round], upstream: list[dict]) -> pd.DataFrame:
        """A row for each round: nominal and actual sparsity, weights kept, upstream accuracy and calibration."""
        return pd.DataFrame(
            {
                "sparsity, nominal": finished.nominal_sparsity,
                "sparsity, actual": finished.sparsity,
                "weights kept": load_round(finished.path)[1].kept,
                "upstream accuracy": measured["metrics"]["accuracy"],
                "upstream debiased ECE": measured["metrics"]["ece_debiased"],
            }
            for finished, measured in zip(rounds, upstream, strict=True)
        )

    def result(self, rounds: list[Round], upstream: list[dict]) -> dict:
        content = head(self.cell, self.runtime, imp=self.settings, source=self.source)
        sparsities = [{"nominal": r.nominal_sparsity, "actual": r.sparsity} for r in rounds]
        return content | {"facts": {"rounds": sparsities}, "rows": upstream}

    def _remove_strays(self) -> None:
        """Rounds of checkpoints that there are no more: DVC keeps this folder from run to run."""
        for place in self.folder.glob("*"):
            if place.name not in map(str, range(self.checkpoints)):
                shutil.rmtree(place) if place.is_dir() else place.unlink()

    def _retrain(self, model: backbones.Backbone, place: int) -> None:
        sparsity = self.settings.rounds[place]
        train_on_source(
            model,
            self.source,
            self.runtime,
            stream=f"imp-{sparsity_text(sparsity)}",
            start=self.settings.rewind_step,
            label=f"{model.name}, retraining at {sparsity:.0%} sparsity ({place + 1} of {len(self.settings.rounds)})",
        )

    def _identity(self) -> str:
        """Hash of the weights, settings and code behind the rounds.

        Excludes the numbers of rounds and checkpoints, so that more can be added.
        Code counts as the pipeline lists it, without docstrings.
        """
        digest = hashlib.sha256()
        for file in (self.trained, self.early):
            digest.update(file.read_bytes())
        listed = json.loads((paths.CODE / "imp.json").read_text())
        digest.update(json.dumps({name: listed[name] for name in CODE}).encode())
        settings = self.settings.model_dump(exclude={"rounds"}) | self.source.model_dump(exclude={"checkpoints"})
        settings |= self.runtime.record()
        digest.update(json.dumps(settings, sort_keys=True).encode())
        return digest.hexdigest()
