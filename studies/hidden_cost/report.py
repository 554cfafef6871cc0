"""The final notebook of hidden_cost: committed results in, figures and tables out."""

from collections.abc import Callable

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from studies import grid, results
from studies.figures import style, tables
from studies.figures.compressions import label
from studies.hidden_cost.figures import controls, integers, mapping
from studies.parameters import Parameters
from studies.report import Report
from studies.statistics import against_dense, summarise
from vpstudy.data import glyphs
from vpstudy.data.target import load as load_target
from vpstudy.models import architectures
from vpstudy.training.controls import CONTROLS


class HiddenCostReport(Report):
    """The results of one scale, as tidy frames.

    Attributes
    ----------
    transfers
        One row for each (compression, target, method, budget, seed) of the three methods.
    controls
        The same of the controls, which run at some compressions.
    backbones
        One row for each compression of each backbone: size, sparsity, upstream accuracy and calibration.
    """

    study, stage = "hidden_cost", "transfer"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self._read = results.read(grid.cells(self.parameters, "transfer"))
        is_control = self._read.frame["method"].isin(CONTROLS)
        self.transfers: pd.DataFrame = self._read.frame[~is_control]
        self.controls: pd.DataFrame = self._read.frame[is_control]
        self.records = results.read_records(grid.cells(self.parameters, "transfer"))
        self._compressed = results.read_records(grid.cells(self.parameters, "compress"))
        self.backbones = pd.DataFrame([_backbone(record) for record in self._compressed.values()])

    def coverage(self) -> pd.DataFrame:
        """How many cells, runs and diverged runs there are, and every cell that is missing or belongs to no grid."""
        for note in self._read.notes():
            print(note)
        runs = self._read.frame
        counts = {
            "cells": len(self.records),
            "cells missing": len(self._read.missing),
            "runs": len(runs),
            "runs diverged": int((runs["status"] == "diverged").sum()),
            "seeds": runs["seed"].nunique(),
            "source checkpoints": len(runs[["backbone", "source_seed"]].drop_duplicates()),
            "validation pictures per class": self.parameters.hidden_cost.settings.validation_per_class,
        }
        return pd.DataFrame(counts, index=["count"]).T

    def backbones_table(self) -> pd.DataFrame:
        """Size, sparsity, upstream accuracy and calibration of each compression."""
        return self.table("backbones", tables.backbones_table(self.backbones))

    def results_table(self) -> pd.DataFrame:
        """Every result, as mean ± half of its interval."""
        return self.table("results", tables.results_table(self.transfers))

    def calibration_table(self) -> pd.DataFrame:
        """Every measure of calibration."""
        return self.table("calibration", tables.calibration_table(self.transfers))

    def draw(self, name: str, drawing: Callable[[pd.DataFrame, pd.DataFrame], Figure]) -> None:
        """Show `drawing(transfers, backbones)` for each architecture; keep it where the pipeline runs the notebook.

        A row of `backbones` is a compression, its numbers the mean of the source checkpoints.
        """
        means = self.backbones.groupby(["backbone", "compression"], sort=False).mean(numeric_only=True)
        families = self.backbones.drop_duplicates(["backbone", "compression"])[["backbone", "compression", "family"]]
        backbones = families.merge(means.reset_index(), on=["backbone", "compression"])  # over source checkpoints
        for backbone in dict.fromkeys(backbones["backbone"]):
            figure = drawing(*(f[f["backbone"] == backbone] for f in (self.transfers, backbones)))
            self._keep(figure, name, backbone)

    def draw_controls(self, name: str) -> None:
        """Show each architecture's controls beside the methods that they vary; nothing where there are none."""
        for backbone in dict.fromkeys(self.controls["backbone"]):
            of_one = (frame[frame["backbone"] == backbone] for frame in (self.transfers, self.controls))
            self._keep(controls.draw(*of_one), name, backbone)

    def _keep(self, figure: Figure, name: str, backbone: str) -> None:
        several = self.backbones["backbone"].nunique() > 1
        self.show(f"{name}-{backbone}" if several else name, figure)

    def label_mapping(self) -> None:
        """The label mapping of the first target."""
        target = self.parameters.hidden_cost.axes.targets[0]
        self.draw("label_mapping", lambda runs, _: self.mapping_panel(runs, target))

    def mapping_panel(self, results: pd.DataFrame, target: str) -> Figure:
        """The label mapping of `target` under each compression, with pictures of both sides."""
        size = self.parameters.hidden_cost.settings.visual_prompting.canvas
        loaded = load_target(target, size)
        first = [int((loaded.labels == k).nonzero()[0]) for k in range(len(loaded.class_names))]
        backbone = results["backbone"].iloc[0]
        names = next(
            record["facts"]["source_classes"]
            for record in self.records.values()
            if architectures.parse(record["cell"]["backbone"])[0] == backbone
        )
        own = backbone not in self.parameters.outside
        return mapping.draw(
            results,
            target,
            [loaded.pictures[index] for index in first],
            loaded.class_names,
            (lambda source: glyphs.example(source, size)) if own else None,
            names,
        )

    def tuning(self) -> pd.DataFrame:
        """How often validation chose each learning rate, by method: what every arm tried, and with what budget."""
        tried = [
            {"method": style.method(arm["method"]).label, "learning rate": one["learning_rate"], "chosen": one is best}
            for record in self.records.values()
            for arm in record["facts"]["tuning"]
            for best in [max(arm["tried"], key=lambda o: (o["validation_accuracy"], -o["validation_nll"]))]
            for one in arm["tried"]
        ]
        table = pd.DataFrame(tried).groupby(["method", "learning rate"], sort=False)["chosen"]
        return table.agg(arms="size", chosen="sum").reset_index()

    def integers(self) -> pd.DataFrame:
        """What ran in real integers, beside itself in floats and the simulations: a row for each backbone and network.

        Empty, and it says why, where the scale has nothing to convert.
        """
        columns = ["backbone", "source checkpoint", "compression", *integers.COLUMNS]
        frames = []
        for record in self._compressed.values():
            if "integer" in record["facts"]:
                backbone, source_seed = architectures.parse(record["cell"]["backbone"])
                names = {"backbone": backbone, "source checkpoint": str(source_seed)}
                names["compression"] = label(record["cell"]["compression"])
                frames.append(integers.table(record["facts"]["integer"]).assign(**names))
        if not frames:
            print("No backbone ran in integers: that takes a transformer, and w8a8 among this scale's compressions.")
            return pd.DataFrame(columns=columns)
        return pd.concat(frames, ignore_index=True)[columns]

    def conclusion(self) -> Markdown:
        """The change against dense by compression and method: its mean over targets and budgets, and how sure it is."""
        lines = []
        for metric, words in (("accuracy", "accuracy"), ("ece_debiased", "debiased ECE")):
            changes = against_dense(self.transfers, metric)
            cells = summarise(changes, ["backbone", "compression", "method", "target", "budget"], "difference")
            for (backbone, compression, method), group in cells.groupby(
                ["backbone", "compression", "method"], sort=False
            ):
                if compression == "dense":
                    continue
                low, high = int((group["high"] < 0).sum()), int((group["low"] > 0).sum())
                lines.append(
                    f"| {words} | {backbone} | {label(compression)} | {style.method(method).label} "
                    f"| {group['mean'].mean():+.3f} | {low} | {high} | {len(group)} |"
                )
        header = "| metric | backbone | compression | method | mean change | cells below 0 | cells above 0 | cells |"
        return Markdown("\n".join([header, "|---|---|---|---|---|---|---|---|", *lines]))


def _backbone(record: dict) -> dict:
    cell, facts, upstream = record["cell"], record["facts"], record["rows"][0]["metrics"]
    kept = {key: value for key, value in facts.items() if key not in ("layers", "integer")}
    backbone, source_seed = architectures.parse(cell["backbone"])
    return {
        "backbone": backbone,
        "source_seed": source_seed,
        "compression": cell["compression"],
        **kept,
        **{f"upstream_{name}": value for name, value in upstream.items()},
    }
