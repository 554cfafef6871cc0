"""Figures and tables of the vpns report, from committed results."""

from collections.abc import Sequence

import pandas as pd

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.figures import dots, panels
from studies.parameters import Parameters
from studies.report import METRICS, Report, with_columns
from studies.statistics import summarise
from studies.vpns import figures, tables
from studies.vpns.evidence import Arm, VpnsEvidence, arm, changes, percent, select, words
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

SHOWN = ("dense", "omp", "hydra", "vpns")  # in reliability diagrams
WITHOUT = "Measured without the prompt."


class VpnsReport(Report):
    """Results of one scale; `runs` has a row for each cell, source checkpoint, arm, sparsity, seed and view."""

    study, stage = "vpns", "prune_with_prompts"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.settings, self._read = parameters.vpns.settings, results.read(grid.cells(parameters, self.stage))
        self.results = self._read.contents
        self.runs = with_columns(self._read, *METRICS, "collapsed", "passes")
        self.backbones = list(dict.fromkeys(self.runs["backbone"]))

    def coverage(self) -> None:
        """Print what the report covers and what is missing."""
        runs, s = self.runs, self.settings
        print(
            f"{len(self.results)} cells, {len(runs)} rows: {runs['pruner'].nunique()} methods, "
            f"{', '.join(dict.fromkeys(runs['target']))}; sparsities {', '.join(map(str, s.sparsities))}; "
            f"{runs['source_seed'].nunique()} source checkpoint(s), {runs['seed'].nunique()} seeds; "
            f"{s.steps} gradient steps a run, {s.budget} training pictures a class."
        )
        print(f"Runs that diverged: {(runs['status'] != 'ok').sum()}.")
        for note in self._read.notes():
            print(note)

    def everything(self, metric: str = "accuracy") -> None:
        """Every method at every sparsity."""
        arms = self._mains("baseline")
        for name in self._methods("vpns", "control"):
            arms += [arm(name), arm(name, view="prompted")] if METHODS[name].prompted != "never" else [arm(name)]
        title = "Accuracy of pruned networks" if metric == "accuracy" else "Calibration of pruned networks"
        note = "Every method takes as many gradient steps; OMP and IMP as published take more."
        self._dots(f"methods_{metric}", arms, title, note, metric)

    def controls(self) -> None:
        """Two-pass tuning with and without a prompt, under each method's mask."""
        arms = self._controlled("prompted", ("main", "two_pass", "prompted"), "dense", "baseline")
        self._dots("prompts_in_tuning", arms, "Prompts in the tuning of other methods", WITHOUT)

    def prompts_after(self) -> None:
        names = ("untouched", "bn", "prompt_only", "main", "prompt_after")
        arms = self._controlled("prompt_only", names, "baseline")
        self._dots("prompts_after", arms, "Prompts after pruning", "A prompt is learned alone and measured in place.")

    def source_masks(self) -> None:
        arms = [arm(name, "source_mask") for name in CONTROLS["source_mask"].methods]
        self._dots("source_masks", arms, "Masks found on the source task", "Each tuned on the target, as its own are.")

    def ablations(self) -> None:
        changed = self._methods("ablation")
        arms = [arm(name) for name in ("vpns", *changed, "vpns_no_prompt")] if changed else []
        self._dots("ablations", arms, "VPNs, changed in one thing", WITHOUT)

    def gains(self) -> None:
        """Paired gains from HYDRA to VPNs, one change at a time."""
        for backbone, evidence in self._evidence():
            of_metrics = {"accuracy": "accuracy", "debiased ECE": "ece_debiased"}.items()
            table = pd.concat([changes(evidence, tables.STEPS, key).assign(panel=label) for label, key in of_metrics])
            title = "From HYDRA to VPNs, one change at a time"
            self._draw_changes("gains", backbone, table, "change", title, "Means over targets.")

    def against(self) -> None:
        """VPNs minus every other method, paired."""
        pairs = [(words(other), arm("vpns"), other) for other in self._mains("dense", "baseline", "control")]
        for backbone, evidence in self._evidence():
            table = changes(evidence, pairs, by_target=True).assign(panel=lambda table: table["target"])
            axis, title = "accuracy of VPNs less that of …", "VPNs against every other method"
            self._draw_changes("against", backbone, table, axis, title, "Above zero: VPNs are better.")

    def cost(self) -> None:
        """Passes over a batch and accuracy of every method."""
        every = self._labelled(self._mains("dense", "baseline", "vpns", "control"))
        for backbone in self.backbones:
            runs = every[(every["backbone"] == backbone) & (every["status"] == "ok")]
            passes = summarise(runs, ["row", "sparsity"], "passes").assign(panel="passes over a batch")
            accuracy = summarise(runs, ["row", "sparsity", "target"], "accuracy")
            accuracy = accuracy.assign(panel=accuracy["target"] + ": accuracy")
            accuracy[["low", "high"]] = accuracy[["low", "high"]].clip(0, 1)
            table = pd.concat([passes, accuracy]).sort_values("sparsity", kind="stable")
            table = table.assign(group=table["sparsity"].map(percent))
            order = list(dict.fromkeys(passes.sort_values("mean", kind="stable")["row"]))
            note = "A pass is forward and backward over one batch; finding and tuning together."
            note = f"{note} {panels.seeds_note(runs, 'bars')}"
            title = self._titled("What a mask costs to find, and what it is worth", backbone)
            self.show(self._named("cost", backbone), dots.draw(table, "", title, note, order=order))

    def layers(self) -> None:
        """Share of weights left in each layer by method, at each sparsity."""
        for sparsity in self.settings.sparsities:
            if left := tables.layers(self.results.values(), sparsity):
                title = f"What is left of each layer (%), {percent(sparsity)} pruned"
                self.show(f"layers_{sparsity:g}", figures.layers(left, title))

    def channels(self) -> None:
        """Structured pruning: accuracy against cost."""
        names = ["dense", *self._methods("channels")]
        runs = self.runs[self.runs["pruner"].isin(names) & (self.runs["arm"] == "main") & (self.runs["view"] == "bare")]
        if len(names) == 1:
            print(NOT_RUN)
            return
        by = ["target", "pruner", "sparsity"]
        table = summarise(runs, by, "accuracy").merge(tables.sizes(self.results.values()), on=by)
        self.show("channels", figures.channels(table))

    def prompts(self) -> None:
        """Learned prompts of the first seed and source checkpoint, at the highest sparsity."""
        pictures = {}
        for cell in self.results:
            axes, place = dict(cell.axes), results.prompt_path(cell)
            if METHODS[axes["pruner"]].prompted != "never" and place.exists():
                pictures.setdefault((axes["target"], axes["pruner"]), place)
        if pictures:
            self.show("prompts", figures.prompts(pictures))
        else:
            print(NOT_RUN)

    def reliability(self) -> None:
        """Reliability of the methods in `SHOWN` at the first control sparsity, seeds pooled."""
        sparsity = (self.settings.control_sparsities or self.settings.sparsities)[0]
        note = f"Pruned: {percent(sparsity)}. ECE: debiased, mean of seeds."
        names = [name for name in SHOWN if name in set(self.runs["pruner"])]
        for backbone, evidence in self._evidence():
            grid = {target: {} for target in dict.fromkeys(evidence.runs["target"])}
            for name in names:
                runs = evidence.of(arm(name), sparsity)
                for target in grid:
                    rows = runs[(runs["target"] == target) & (runs["status"] == "ok")].to_dict("records")
                    grid[target][METHODS[name].label] = rows
            self.show(self._named("reliability", backbone), figures.reliability(grid, note))

    def all_results(self) -> pd.DataFrame:
        return self.table("results", tables.results(self.runs))

    def published(self) -> pd.DataFrame:
        return self.table("published", tables.published(self.runs))

    def published_ablations(self) -> pd.DataFrame:
        return self.table(
            "published_ablations", tables.published_ablations(self.runs, self.settings.control_sparsities)
        )

    def largest_matching(self) -> pd.DataFrame:
        return self.table("matches_dense", tables.largest_matching(self.runs))

    def tuning(self) -> pd.DataFrame:
        return self.table("tuning", tables.tuning(self.results.values()))

    def conclusion(self) -> pd.DataFrame:
        return tables.conclusion(self.runs)

    def _dots(self, name: str, arms: Sequence[Arm], title: str, note: str, metric: str | None = None) -> None:
        """Draw arms by sparsity, with dense as a line; without `metric`, accuracy at the control sparsities and 0."""
        every = self._labelled(arms)
        if metric is None:
            every, metric = every[every["sparsity"].isin([0.0, *self.settings.control_sparsities])], "accuracy"
        if every.empty:
            print(NOT_RUN)
        for backbone in dict.fromkeys(every["backbone"]):
            runs = every[every["backbone"] == backbone]
            table = summarise(runs, ["row", "target", "sparsity"], metric)
            table = table.assign(panel=table["target"], group=table["sparsity"].map(percent))
            dense = select(self.runs, arm("dense"))
            dense = dense[(dense["backbone"] == backbone) & (dense["status"] == "ok")]
            figure = dots.draw(
                table.sort_values("sparsity", kind="stable"),
                METRICS[metric],
                self._titled(title, backbone),
                f"{note} {panels.seeds_note(runs, 'bars')}",
                dense.groupby("target")[metric].mean().to_dict(),
                "dense, fine-tuned",
                order=[words(each) for each in arms],
                bounds=(0, 1) if metric == "accuracy" else None,
            )
            self.show(self._named(name, backbone), figure)

    def _draw_changes(self, name: str, backbone: str, table: pd.DataFrame, axis: str, title: str, note: str) -> None:
        if table.empty:
            print(NOT_RUN)
            return
        runs = self.runs[self.runs["backbone"] == backbone].assign(status="ok")
        note = f"{note} {panels.seeds_note(runs, 'bars')} Pairs share a source checkpoint, a target and a seed."
        if table["n_diverged"].any():
            note += " ✕: so many pairs are left out, as a run diverged, or the other network gives one answer to all."
        figure = dots.draw(table, axis, self._titled(title, backbone), note, zero=True)
        self.show(self._named(name, backbone), figure)

    def _labelled(self, arms: Sequence[Arm]) -> pd.DataFrame:
        """The runs of some arms, with their figure label in the column `row`."""
        frames = [select(self.runs, each).assign(row=words(each)) for each in arms]
        return pd.concat(frames) if frames else self.runs.iloc[:0].assign(row="")

    def _mains(self, *roles: str) -> list[Arm]:
        """Main arms of these roles, then the published arms that were run."""
        mains = [arm(name) for name in self._methods(*roles)]
        return mains + [each for name, *_ in mains if len(select(self.runs, each := arm(name, "published")))]

    def _controlled(self, needed: str, names: Sequence[str], *roles: str) -> list[Arm]:
        """The arms of each method that were run; none if the control `needed` was not run."""
        arms = [arm(pruner, name) for pruner in self._methods(*roles) for name in names]
        return [each for each in arms if len(select(self.runs, each))] if needed in set(self.runs["arm"]) else []

    def _methods(self, *roles: str) -> list[str]:
        return tables.methods(self.runs, *roles)

    def _evidence(self) -> list[tuple[str, VpnsEvidence]]:
        return [(name, VpnsEvidence(self.runs[self.runs["backbone"] == name])) for name in self.backbones]

    def _titled(self, title: str, backbone: str) -> str:
        return f"{title} ({backbone})" if len(self.backbones) > 1 else title

    def _named(self, name: str, backbone: str) -> str:
        return f"{name}_{backbone}" if len(self.backbones) > 1 else name
