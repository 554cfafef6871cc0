"""Report of hidden_cost: figures and tables from committed results."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from studies import grid, results
from studies.figures.pictures import of_source
from studies.hidden_cost import tables
from studies.hidden_cost.figures import calibration, changes, lines, pictures
from studies.parameters import Parameters
from studies.report import Report
from vpstudy.data.target import load as load_target
from vpstudy.models import architectures
from vpstudy.training.controls import CONTROLS

FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Figure]] = {  # from runs and backbones of one architecture
    "accuracy_by_sparsity": lines.accuracy_by_sparsity,
    "ece_by_sparsity": lines.ece_by_sparsity,
    "bit_width": lines.by_bits,
    "change_heatmap": lambda runs, _: changes.heatmap(runs),
    "families": lambda runs, _: changes.by_family(runs),
    "scaling": lambda runs, _: changes.scaling(runs),
    "reliability": lambda runs, _: calibration.reliability(runs),
    "confidence": lambda runs, _: calibration.confidence(runs),
    "legacy": lambda runs, _: calibration.legacy(runs),
}


class HiddenCostReport(Report):
    """Report on one scale: `runs`, `controls` and `backbones` (a row per compression and source checkpoint)."""

    study, stage = "hidden_cost", "transfer"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.transfers = results.read(grid.cells(parameters, "transfer"))
        self.compressed = results.read(grid.cells(parameters, "compress"))
        is_control = self.transfers.frame["method"].isin(CONTROLS)
        self.runs, self.controls = self.transfers.frame[~is_control], self.transfers.frame[is_control]
        self.backbones = pd.DataFrame(map(_backbone, self.compressed.contents.values()))

    def coverage(self) -> pd.DataFrame:
        """Count cells, runs and diverged runs; print missing cells and orphaned files."""
        for note in self.transfers.notes():
            print(note)
        runs = self.transfers.frame
        counts = {
            "cells": len(self.transfers.contents),
            "cells missing": len(self.transfers.missing),
            "runs": len(runs),
            "runs diverged": int((runs["status"] == "diverged").sum()),
            "seeds": runs["seed"].nunique(),
            "source checkpoints": len(runs[["backbone", "source_seed"]].drop_duplicates()),
            "validation pictures per class": self.parameters.hidden_cost.settings.validation_per_class,
        }
        return pd.DataFrame(counts, index=["count"]).T

    def draw(self, name: str) -> None:
        """Show one of FIGURES for each architecture, with backbones averaged over source checkpoints."""
        means = self.backbones.groupby(["backbone", "compression"], sort=False).mean(numeric_only=True)
        families = self.backbones.drop_duplicates(["backbone", "compression"])[["backbone", "compression", "family"]]
        backbones = families.merge(means.reset_index(), on=["backbone", "compression"])
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            self._show(name, backbone, FIGURES[name](runs, backbones[backbones["backbone"] == backbone]))

    def draw_controls(self) -> None:
        """Show each architecture's controls, if any, beside the methods they vary."""
        for backbone, of_controls in self.controls.groupby("backbone", sort=False):
            runs = self.runs[self.runs["backbone"] == backbone]
            self._show("controls", backbone, changes.controls(runs, of_controls))

    def prompts(self) -> None:
        """Show the learned prompts of each architecture's first source checkpoint."""
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            found = {}
            for cell in self.transfers.contents:
                axes, path = dict(cell.axes), results.prompt_path(cell)
                if architectures.parse(axes["backbone"]) == (backbone, runs["source_seed"].iloc[0]) and path.exists():
                    found[axes["target"], axes["compression"]] = np.moveaxis(np.asarray(Image.open(path)), 2, 0)
            self._show("prompts", backbone, pictures.prompts(runs, found))

    def label_mapping(self) -> None:
        """Show the label mapping of the first target under each compression, with pictures of both sides."""
        section = self.parameters.hidden_cost
        target, size = section.axes.targets[0], section.settings.visual_prompting.canvas
        loaded = load_target(target, size, self.parameters.pictures)
        first = [loaded.pictures[int((loaded.labels == k).nonzero()[0])] for k in range(len(loaded.class_names))]
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            contents = self.transfers.contents.values()
            source = {architectures.parse(c["cell"]["backbone"])[0]: c["facts"]["source_classes"] for c in contents}
            example = partial(of_source, size=size)
            figure = pictures.mapping(runs, target, first, loaded.class_names, example, source[backbone])
            self._show("label_mapping", backbone, figure)

    def _show(self, name: str, backbone: str, figure: Figure) -> None:
        self.show(f"{name}-{backbone}" if self.backbones["backbone"].nunique() > 1 else name, figure)

    def backbones_table(self) -> pd.DataFrame:
        return self.table("backbones", tables.backbones(self.backbones))

    def results_table(self) -> pd.DataFrame:
        return self.table("results", tables.results(self.runs))

    def tuning(self) -> pd.DataFrame:
        tuned = [arm for content in self.transfers.contents.values() for arm in content["facts"]["tuning"]]
        return self.table("tuning", tables.tuning(tuned))

    def conclusion(self) -> pd.DataFrame:
        """Mean change against dense by compression and method, and how many cells changed clearly."""
        return self.table("changes", tables.changes(self.runs))


def _backbone(content: dict) -> dict:
    cell, facts, upstream = content["cell"], content["facts"], content["rows"][0]["metrics"]
    backbone, source_seed = architectures.parse(cell["backbone"])
    identity = {"backbone": backbone, "source_seed": source_seed, "compression": cell["compression"]}
    flat = {key: value for key, value in facts.items() if key != "layers"}
    return identity | flat | {f"upstream_{name}": value for name, value in upstream.items()}
