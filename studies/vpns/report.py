"""The final notebook of vpns: committed results in, figures and tables out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown

from studies import grid, results
from studies.claims.claim import ON, replicates
from studies.claims.verdict import LEVEL, NOT_RUN, Effect
from studies.figures import dots, panels, tables
from studies.parameters import Parameters
from studies.report import METRICS, Report, with_columns
from studies.statistics import summarise
from studies.vpns import figures as pruning
from studies.vpns.claims import SAME, SINGLE_PASS, Arm, VpnsEvidence, arm, comparable, difference, words
from vpstudy import paths
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

BEST = "VPNs − best other that does not iterate"
STEPS = (  # from HYDRA to VPNs, one change at a time
    ("optimizer of scores: Adam, not SGD", arm("hydra_adam"), arm("hydra")),
    ("two passes, no prompt", arm("vpns_no_prompt"), arm("hydra_adam")),
    ("the prompt, measured without it", arm("vpns"), arm("vpns_no_prompt")),
    ("the prompt, measured with it", arm("vpns", view="prompted"), arm("vpns_no_prompt")),
)


class VpnsStudy(Report):
    """The results of one scale, as one tidy frame.

    Attributes
    ----------
    runs
        One row for each (backbone, source checkpoint, target, pruner, arm, sparsity, seed, view).
    """

    study, stage = "vpns", "prune_with_prompts"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        cells = grid.cells(self.parameters, "prune_with_prompts")
        self._read = results.read(cells)
        self.records = results.read_records(cells)
        self.runs = with_columns(self._read, *METRICS, "collapsed", "prompt_png", "passes")
        self.backbones = list(dict.fromkeys(self.runs["backbone"]))

    def coverage(self) -> None:
        """Say what the notebook rests on, and what is missing."""
        runs, v = self.runs, self.parameters.vpns
        print(
            f"{len(self.records)} cells, {len(runs)} rows: {runs['pruner'].nunique()} methods, "
            f"{', '.join(dict.fromkeys(runs['target']))}; sparsities {', '.join(map(str, v.sparsities))}; "
            f"{runs['source_seed'].nunique()} source checkpoint(s), {runs['seed'].nunique()} seeds; "
            f"{v.steps} gradient steps a run, {v.budget} training pictures a class."
        )
        diverged = int((runs["status"] != "ok").sum())
        print(f"Runs that diverged: {diverged}.")
        for note in self._read.notes():
            print(note)

    def _arms(self, arms: Sequence[tuple[str, Arm]]) -> pd.DataFrame:
        """The rows of some arms, with the column `row` that labels them in a figure."""
        frames = [
            self.runs[
                (self.runs["pruner"] == pruner) & (self.runs["arm"] == name) & (self.runs["view"] == view)
            ].assign(row=label)
            for label, (pruner, name, view) in arms
        ]
        return pd.concat(frames) if frames else self.runs.iloc[:0].assign(row="")

    def dots(
        self,
        name: str,
        arms: Sequence[tuple[str, Arm]],
        title: str,
        note: str,
        metric: str = "accuracy",
        at: Sequence[float] | None = None,
    ) -> None:
        """Show arms as dots, a group for each sparsity (or each of `at`), dense fine-tuning as a line, by backbone."""
        shown = 0
        for backbone in self.backbones:
            frame = self._arms(arms)
            frame = frame[frame["backbone"] == backbone]
            if at is not None:
                frame = frame[frame["sparsity"].isin([0.0, *at])]
            if frame.empty:
                continue
            table = summarise(frame, ["row", "target", "sparsity"], metric)
            table = table.assign(panel=table["target"], group=table["sparsity"].map(pruning.percent))
            table = table.sort_values("sparsity", kind="stable")
            dense = self._arms([("dense", arm("dense"))])
            dense = dense[(dense["backbone"] == backbone) & (dense["status"] == "ok")]
            figure = dots.draw(
                table,
                METRICS[metric],
                self._of(backbone, title),
                f"{note} {panels.seeds_note(frame, 'bars')}",
                dense.groupby("target")[metric].mean().to_dict(),
                "dense, fine-tuned",
                order=[label for label, _ in arms],
                bounds=(0, 1) if metric == "accuracy" else None,
            )
            self.show(self._of(backbone, name, "{}_{}"), figure)
            shown += 1
        if not shown:
            print(NOT_RUN)

    def _of(self, backbone: str, words: str, form: str = "{} ({})") -> str:
        """`words`, with the backbone where there are several."""
        return form.format(words, backbone) if len(self.backbones) > 1 else words

    def _methods(self, *roles: str) -> list[str]:
        present = set(self.runs["pruner"])
        return [name for name, method in METHODS.items() if method.role in roles and name in present]

    def everything(self, metric: str = "accuracy") -> None:
        """Every method at every sparsity."""
        arms = [(words(arm(name)), arm(name)) for name in self._methods("baseline")]
        arms += [(words(arm(n, "published")), arm(n, "published")) for n in ("omp", "imp")]
        for name in self._methods("vpns", "control"):
            arms.append((words(arm(name)), arm(name)))
            if METHODS[name].prompted:
                arms.append((words(arm(name, view="prompted")), arm(name, view="prompted")))
        title = "Accuracy of pruned networks" if metric == "accuracy" else "Calibration of pruned networks"
        note = "Every method takes as many gradient steps; OMP and IMP as published take more."
        self.dots(f"methods_{metric}", arms, title, note, metric)

    def controls(self) -> None:
        """Tuning on two passes, with a prompt and without, under each method's mask."""
        arms = [
            (f"{METHODS[name].label}: {label}", arm(name, control))
            for name in self._methods("dense", "baseline")
            for control, label in (("main", "augmented"), ("two_pass", "two passes"), ("prompted", "and a prompt"))
        ]
        at = self.parameters.vpns.settings.control_sparsities
        arms = [a for a in arms if not self._arms([a]).empty] if "prompted" in set(self.runs["arm"]) else []
        title, note = "Prompts in the tuning of other methods", "Measured without the prompt."
        self.dots("prompts_in_tuning", arms, title, note, at=at)

    def prompts_after(self) -> None:
        """Prompts added to networks that stay as they are."""
        arms = [
            (f"{METHODS[name].label}: {label}", arm(name, control))
            for name in self._methods("baseline")
            for control, label in (
                ("untouched", "as pruned"),
                ("bn", "BatchNorm anew"),
                ("prompt_only", "a prompt, no tuning"),
                ("main", "tuned"),
                ("prompt_after", "a prompt after tuning"),
            )
        ]
        arms = [a for a in arms if not self._arms([a]).empty] if "prompt_only" in set(self.runs["arm"]) else []
        at = self.parameters.vpns.settings.control_sparsities
        note = "A prompt is learned alone and measured in place."
        self.dots("prompts_after", arms, "Prompts after pruning", note, at=at)

    def source_masks(self) -> None:
        """Masks found on the source, tuned on the target."""
        arms = [(METHODS[name].label, arm(name, "source_mask")) for name in CONTROLS["source_mask"].methods]
        at = self.parameters.vpns.settings.control_sparsities
        note = "Each tuned on the target, as its own are."
        self.dots("source_masks", arms, "Masks found on the source task", note, at=at)

    def ablations(self) -> None:
        """VPNs changed in one thing at a time."""
        arms = [("VPNs: both stages, frame of 2 px, pictures of 32 px", arm("vpns"))]
        arms += [(METHODS[name].label, arm(name)) for name in self._methods("ablation")]
        arms += [(METHODS["vpns_no_prompt"].label, arm("vpns_no_prompt"))]
        arms = arms if self._methods("ablation") else []
        at = self.parameters.vpns.settings.control_sparsities
        self.dots("ablations", arms, "VPNs, changed in one thing", "Measured without the prompt.", at=at)

    def gains(self) -> None:
        """What earns the gain: from HYDRA to VPNs, one change at a time, paired by seed."""
        for backbone in self.backbones:
            frames = [
                self._changes(backbone, STEPS, metric).assign(panel=shown)
                for metric, shown in (("accuracy", "accuracy"), ("ece_debiased", "debiased ECE"))
            ]
            title = "From HYDRA to VPNs, one change at a time"
            self._draw_changes("gains", backbone, pd.concat(frames), "change", title, "Means over targets.")

    def against(self) -> None:
        """VPNs less every other method, paired."""
        others = self._methods("dense", "baseline", "control")
        arms = [arm(name) for name in others] + [arm(name, "published") for name in ("omp", "imp") if name in others]
        pairs = [(words(other), arm("vpns"), other) for other in arms]
        for backbone in self.backbones:
            table = self._changes(backbone, pairs, by_target=True).assign(panel=lambda f: f["target"])
            axis, title = "accuracy of VPNs less that of …", "VPNs against every other method"
            self._draw_changes("against", backbone, table, axis, title, "Above zero: VPNs are better.")

    def _draw_changes(self, name: str, backbone: str, table: pd.DataFrame, axis: str, title: str, note: str) -> None:
        if table.empty:
            print(NOT_RUN)
            return
        runs = self.runs[self.runs["backbone"] == backbone].assign(status="ok")
        note = f"{note} {panels.seeds_note(runs, 'bars')} Pairs share a source checkpoint, a target and a seed."
        if table["n_diverged"].any():
            note += " ✕: so many pairs are left out, as a run diverged, or the other network gives one answer to all."
        self.show(self._of(backbone, name, "{}_{}"), dots.draw(table, axis, self._of(backbone, title), note, zero=True))

    def _changes(
        self,
        backbone: str,
        pairs: Sequence[tuple[str, Arm, Arm]],
        metric: str = "accuracy",
        by_target: bool = False,
        by_sparsity: bool = True,
    ) -> pd.DataFrame:
        """Effects of (label, one, other), with intervals over replicates as for the claims; a row for each group."""
        runs, rows = self.runs[self.runs["backbone"] == backbone], []
        evidence = VpnsEvidence(runs)
        for label, one, other in pairs:
            sparsities = evidence.sparsities(*one[:2])
            for group in [[each] for each in sparsities] if by_sparsity else [sparsities]:
                for target in dict.fromkeys(runs["target"]) if by_target else [None]:
                    effect, n, left_out = self._effect(evidence, one, other, group, metric, target)
                    if n or left_out:
                        words = " and ".join(map(pruning.percent, group))
                        row = {"row": label, "group": words, "target": target, "n": n, "n_diverged": left_out}
                        row |= {"mean": effect.mean, "low": effect.low, "high": effect.high}
                        rows.append(row | {"replicates": effect.n})
        columns = ["row", "group", "target", "n", "n_diverged", "mean", "low", "high", "replicates"]
        return pd.DataFrame(rows, columns=columns)

    def _effect(
        self, evidence: VpnsEvidence, one: Arm, other: Arm, sparsities: Sequence[float], metric: str, target: str | None
    ) -> tuple[Effect, int, int]:
        """`one` less `other` over targets (or on one) and sparsities, how many pairs it rests on, and how many not."""
        if target:
            evidence = VpnsEvidence(evidence.runs[evidence.runs["target"] == target])
        pairs = [comparable(evidence, one, other, sparsity, metric) for sparsity in sparsities]
        asked = sum(len(evidence.of(one, s)[ON].merge(evidence.of(other, s)[ON], on=ON)) for s in sparsities)
        values = pd.concat(pairs).rename(columns={"difference": "value"}) if pairs else pd.DataFrame()
        return (Effect.of(replicates(values)) if len(values) else Effect.none()), len(values), asked - len(values)

    def cost(self) -> None:
        """Passes over a batch, and accuracy, of every method."""
        arms = [arm(name) for name in self._methods("dense", "baseline", "vpns", "control")]
        arms += [arm(name, "published") for name in ("omp", "imp") if name in set(self.runs["pruner"])]
        labels = [(words(each), each) for each in arms]
        for backbone in self.backbones:
            frame = self._arms(labels)
            frame = frame[(frame["backbone"] == backbone) & (frame["status"] == "ok")]
            passes = summarise(frame, ["row", "sparsity"], "passes").assign(panel="passes over a batch")
            accuracy = summarise(frame, ["row", "sparsity", "target"], "accuracy")
            accuracy = accuracy.assign(panel=accuracy["target"] + ": accuracy")
            accuracy[["low", "high"]] = accuracy[["low", "high"]].clip(0, 1)
            table = pd.concat([passes, accuracy]).sort_values("sparsity", kind="stable")
            table = table.assign(group=table["sparsity"].map(pruning.percent))
            order = list(dict.fromkeys(passes.sort_values("mean", kind="stable")["row"]))
            note = "A pass is forward and backward over one batch; finding and tuning together."
            note = f"{note} {panels.seeds_note(frame, 'bars')}"
            title = self._of(backbone, "What a mask costs to find, and what it is worth")
            figure = dots.draw(table, "", title, note, order=order)
            self.show(self._of(backbone, "cost", "{}_{}"), figure)

    def minutes(self) -> pd.DataFrame:
        """Passes (counted) and minutes (measured where the cells ran) of one run, by method: means over cells."""
        rows = [
            {"method": METHODS[cell["pruner"]].label, "arm": key.split()[0], "minutes": value, "passes": passes[key]}
            for record in self.records.values()
            for cell in [record["cell"]]
            for passes in [{f"{r['arm']} {r['sparsity']:g}": r["passes"] for r in record["rows"] if r["passes"]}]
            for key, value in record["facts"]["minutes"].items()
            if key.split()[0] in ("main", "published") and key in passes
        ]
        frame = pd.DataFrame(rows, columns=["method", "arm", "minutes", "passes"])
        table = frame.groupby(["method", "arm"], sort=False)[["passes", "minutes"]].mean().reset_index()
        return self.table("cost", table.round({"passes": 0, "minutes": 3}))

    def layers(self) -> None:
        """Which layers each method empties, at each sparsity: means over cells, first seeds."""
        for sparsity in self.parameters.vpns.settings.sparsities:
            rows: dict[str, list[dict[str, float]]] = {}
            for record in self.records.values():
                of = record["facts"]["layers"].get(f"{sparsity:g}")
                name = record["cell"]["pruner"]
                if of and METHODS[name].role in ("baseline", "vpns", "control"):
                    rows.setdefault(METHODS[name].label, []).append(of)
            means = {label: pd.DataFrame(each).mean().to_dict() for label, each in rows.items()}
            if means:
                title = f"What is left of each layer (%), {pruning.percent(sparsity)} pruned"
                self.show(f"layers_{sparsity:g}", pruning.layers(means, title))

    def channels(self) -> None:
        """Structured pruning: accuracy against cost."""
        names = self._methods("channels")
        if not names:
            print(NOT_RUN)
            return
        frame = self.runs[
            self.runs["pruner"].isin(["dense", *names]) & (self.runs["arm"] == "main") & (self.runs["view"] == "bare")
        ]
        table = summarise(frame, ["target", "pruner", "sparsity"], "accuracy")
        table = table.merge(sizes(self.records.values()), on=["target", "pruner", "sparsity"])
        self.show("channels", pruning.channels(table))

    def prompts(self) -> None:
        """The learned prompts of the first seed at the highest sparsity."""
        rows = self.runs[self.runs["prompt_png"].notna() & (self.runs["arm"] == "main")]
        rows = rows[rows["source_seed"] == rows["source_seed"].min()].sort_values("sparsity", ascending=False)
        if rows.empty:
            print(NOT_RUN)
            return
        self.show("prompts", pruning.prompts(rows.drop_duplicates(["target", "pruner"]).sort_index()))

    def reliability(self) -> None:
        """At the first of the sparsities at which controls run."""
        v = self.parameters.vpns
        frame = self.runs[(self.runs["arm"] == "main") & (self.runs["view"] == "bare")]
        for backbone in self.backbones:
            mine = frame[frame["backbone"] == backbone]
            figure = pruning.reliability(mine, (v.control_sparsities or v.sparsities)[0])
            self.show(self._of(backbone, "reliability", "{}_{}"), figure)

    def results(self) -> pd.DataFrame:
        """Accuracy and calibration of every arm as "mean ± half the 95 % interval", by target."""
        by = ["backbone", "target", "pruner", "arm", "view", "sparsity"]
        summaries = {metric: summarise(self.runs, by, metric) for metric in METRICS}
        first = summaries["accuracy"]
        labels = [words((r.pruner, r.arm, r.view)) for r in first.itertuples()]
        table = pd.DataFrame(
            {
                "backbone": first["backbone"],
                "target": first["target"],
                "method": labels,
                "pruned": first["sparsity"].map(pruning.percent),
                **{w: [tables.mean_text(row) for row in summaries[m].itertuples()] for m, w in METRICS.items()},
                "runs": [tables.seeds_text(row) for row in first.itertuples()],
            }
        )
        return self.table("results", table)

    def published(self) -> pd.DataFrame:
        """The paper's numbers beside this scale's: other networks and data, so only directions compare."""
        paper = pd.read_csv(paths.ROOT / "data" / "published" / "vpns.csv")
        main = paper[paper["table"] == "main"]
        wide = main.pivot_table(
            index=["dataset", "sparsity"], columns=main["arm"].str.split(" ").str[0], values="accuracy"
        )
        dense = wide["dense"].groupby("dataset").transform("max")
        gain = pd.DataFrame({BEST: wide["VPNs"] - wide["best"], "VPNs − dense": wide["VPNs"] - dense}).dropna()
        source = f"paper, mean of {gain.index.get_level_values('dataset').nunique()} data sets (ResNet-18)"
        rows = [
            {"source": source, "pruned": f"{row.Index:g} %", BEST: row[1], "VPNs − dense": row[2]}
            for row in gain.groupby("sparsity").mean().itertuples()
        ]
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            evidence = VpnsEvidence(runs)
            for sparsity in evidence.sparsities("vpns"):
                means = pd.DataFrame(
                    {
                        name: 100 * evidence.of(arm(name), sparsity).groupby("target")["accuracy"].mean().astype(float)
                        for name in ("dense", "vpns", *SINGLE_PASS)
                        if name in set(runs["pruner"])
                    }
                )
                best = means.drop(columns=["dense", "vpns"]).max(axis=1)
                of = {BEST: (means["vpns"] - best).mean(), "VPNs − dense": (means["vpns"] - means["dense"]).mean()}
                label = f"here, mean of {len(means)} target(s) ({backbone})"
                rows.append({"source": label, "pruned": pruning.percent(sparsity), **of})
        return self.table("published", pd.DataFrame(rows).round(2))

    def published_ablations(self) -> pd.DataFrame:
        """The paper's ablations and channels beside this scale's, in per cent; networks and data differ."""
        paper = pd.read_csv(paths.ROOT / "data" / "published" / "vpns.csv")
        rows = [
            {"table": row.table, "source": f"paper, {row.dataset}", "pruned": f"{row.sparsity:g} %", "arm": row.arm}
            | {"accuracy": f"{row.accuracy:.2f}"}
            for row in paper[paper["table"] != "main"].itertuples()
        ]
        ours = {
            "ablation": ["vpns", "vpns_no_prompt", *self._methods("ablation")],
            "channels": self._methods("channels"),
        }
        for name, pruners in ours.items():
            frame = self.runs[(self.runs["arm"] == "main") & (self.runs["view"] == "bare")]
            frame = frame[frame["pruner"].isin(pruners) if len(pruners) > 2 else frame["pruner"].eq("")]
            if name == "ablation":
                frame = frame[frame["sparsity"].isin(self.parameters.vpns.settings.control_sparsities)]
            for row in summarise(frame, ["target", "sparsity", "pruner"], "accuracy").itertuples():
                label, mean = METHODS[row.pruner].label, f"{100 * row.mean:.2f}"
                at = {"source": f"here, {row.target}", "pruned": pruning.percent(row.sparsity), "arm": label}
                rows.append({"table": name, **at, "accuracy": mean})
        return self.table("published_ablations", pd.DataFrame(rows))

    def largest_matching(self) -> pd.DataFrame:
        """The largest sparsity up to which, from the lowest on, a loss of a point or more against dense is rejected."""
        rows = []
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            evidence = VpnsEvidence(runs)
            for name in self._methods("baseline", "vpns", "control"):
                reached = "none"
                for sparsity in evidence.sparsities(name):
                    found = difference(evidence, arm(name), arm("dense"), sparsity)
                    if found is None or found.effect.p_above(-SAME) >= LEVEL:
                        break
                    reached = pruning.percent(sparsity)
                rows.append({"backbone": backbone, "method": METHODS[name].label, "matches dense up to": reached})
        return self.table("matches_dense", pd.DataFrame(rows))

    def tuning(self) -> pd.DataFrame:
        """How often validation chose each factor on the learning rates, by method."""
        tried = [
            {"method": METHODS[record["cell"]["pruner"]].label, "factor": one["factor"], "chosen": one is best}
            for record in self.records.values()
            for each in record["facts"]["tuning"]
            for best in [max(each["tried"], key=lambda o: (o["validation_accuracy"], -o["validation_nll"]))]
            for one in each["tried"]
        ]
        table = pd.DataFrame(tried).groupby(["method", "factor"], sort=False)["chosen"]
        return self.table("tuning", table.agg(times="size", chosen="sum").reset_index())

    def conclusion(self) -> Markdown:
        """What each step from HYDRA to VPNs is worth, over targets and sparsities."""
        lines = ["| backbone | step | accuracy [95 %] | debiased ECE [95 %] | replicates |", "|---|---|---|---|---|"]
        for backbone in self.backbones:
            of = {m: self._changes(backbone, STEPS, m, by_sparsity=False) for m in ("accuracy", "ece_debiased")}
            for label, *_ in STEPS:
                found = [next(table[table["row"] == label].itertuples(), None) for table in of.values()]
                texts = ["—" if one is None or not one.n else tables.interval_text(one, 4) for one in found]
                lines.append(
                    f"| {backbone} | {label} | {texts[0]} | {texts[1]} | {found[0].replicates if found[0] else 0} |"
                )
        return Markdown("\n".join(lines))


def sizes(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """What is left of networks, means over records: target, pruner, sparsity, macs, parameters, latency_ms."""
    by = ["target", "pruner", "sparsity"]
    frame = pd.DataFrame(
        {**size, "target": record["cell"]["target"], "pruner": record["cell"]["pruner"], "sparsity": float(key)}
        for record in records
        for key, size in record["facts"]["networks"].items()
    )
    return frame.groupby(by, sort=False)[["macs", "parameters", "latency_ms"]].mean().reset_index()
