"""The final notebook of vpns: committed results in, figures and tables out."""

from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from vpstudy import grid, paths, results
from vpstudy.claims.verdict import LEVEL
from vpstudy.claims.vpns import ON, SAME, Arm, VpnsEvidence, arm, difference, words
from vpstudy.figures import dots, pruning, style, tables
from vpstudy.parameters.base import ParameterError
from vpstudy.parameters.study import load
from vpstudy.pruning.methods import CONTROLS, METHODS
from vpstudy.statistics import paired, summarise

METRICS = {"accuracy": "test accuracy", "ece_debiased": "debiased ECE", "nll": "NLL (nats)", "brier": "Brier"}
STEPS = (  # from HYDRA to VPNs, one change at a time
    ("optimizer of scores: Adam, not SGD", arm("hydra_adam"), arm("hydra")),
    ("two passes, no prompt", arm("vpns_no_prompt"), arm("hydra_adam")),
    ("the prompt, measured without it", arm("vpns"), arm("vpns_no_prompt")),
    ("the prompt, measured with it", arm("vpns", view="prompted"), arm("vpns_no_prompt")),
)


class VpnsStudy:
    """The results of one scale, as one tidy frame.

    Attributes
    ----------
    runs
        One row for each (backbone, source checkpoint, target, pruner, arm, sparsity, seed, view).
    """

    def __init__(self, scale: str, save: bool):
        self.parameters = load()
        if self.parameters.scale != scale:
            raise ParameterError(
                f"scale: {scale!r} was asked for, but params.yaml holds {self.parameters.scale!r}; "
                f"`python -m vpstudy scale {scale}` puts it in place"
            )
        self.save, self.folder = save, paths.FIGURES / scale / "vpns"
        cells = grid.cells(self.parameters, "prune_with_prompts")
        self._read = results.read(cells)
        self.records = results.read_records(cells)
        self.runs: pd.DataFrame = self._read.frame
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

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Show a table, and keep it as CSV and Markdown where the pipeline runs the notebook."""
        if self.save:
            tables.save(table, name, self.folder)
        return table

    def _show(self, name: str, figure: Figure) -> None:
        if self.save:
            style.save(figure, name, self.folder)
        display(figure)

    def _arms(self, arms: Sequence[tuple[str, Arm]]) -> pd.DataFrame:
        """The rows of some arms, with the column `row` that labels them in a figure."""
        frames = [
            self.runs[
                (self.runs["pruner"] == pruner) & (self.runs["arm"] == name) & (self.runs["view"] == view)
            ].assign(row=label)
            for label, (pruner, name, view) in arms
        ]
        return pd.concat(frames) if frames else self.runs.iloc[:0].assign(row="")

    def dots(self, name: str, arms: Sequence[tuple[str, Arm]], title: str, note: str, metric: str = "accuracy") -> None:
        """Show arms as dots, a group for each sparsity, dense fine-tuning as a line; a figure for each backbone."""
        for backbone in self.backbones:
            frame = self._arms(arms)
            frame = frame[frame["backbone"] == backbone]
            if frame.empty:
                print("not run at this scale")
                continue
            table = summarise(frame, ["row", "target", "sparsity"], metric)
            table = table.assign(panel=table["target"], group=table["sparsity"].map(pruning.percent))
            table = table.sort_values("sparsity", kind="stable")
            dense = self._arms([("dense", arm("dense"))])
            dense = dense[(dense["backbone"] == backbone) & (dense["status"] == "ok")]
            levels = dense.groupby("target")[metric].mean().to_dict()
            several = len(self.backbones) > 1
            figure = dots.draw(
                table,
                METRICS[metric],
                f"{title} ({backbone})" if several else title,
                f"{note} {self._intervals()}",
                levels,
                "dense, fine-tuned",
                order=[label for label, _ in arms],
            )
            self._show(f"{name}_{backbone}" if several else name, figure)

    def _intervals(self) -> str:
        sources = self.runs["source_seed"].nunique()
        return f"Bars: 95 % t intervals over {'source checkpoints' if sources > 1 else 'seeds'}."

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
        at = self.parameters.vpns.control_sparsities
        arms = [a for a in arms if not self._arms([a]).empty] if "prompted" in set(self.runs["arm"]) else []
        self._at(
            at, "prompts_in_tuning", arms, "Prompts in the tuning of other methods", "Measured without the prompt."
        )

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
        at = self.parameters.vpns.control_sparsities
        self._at(at, "prompts_after", arms, "Prompts after pruning", "A prompt is learned alone and measured in place.")

    def source_masks(self) -> None:
        """Masks found on the source, tuned on the target."""
        arms = [(METHODS[name].label, arm(name, "source_mask")) for name in CONTROLS["source_mask"].methods]
        at = self.parameters.vpns.control_sparsities
        self._at(
            at, "source_masks", arms, "Masks found on the source task", "Each tuned on the target, as its own are."
        )

    def ablations(self) -> None:
        """VPNs changed in one thing at a time."""
        arms = [("VPNs: both stages, frame of 2 px, pictures of 32 px", arm("vpns"))]
        arms += [(METHODS[name].label, arm(name)) for name in self._methods("ablation")]
        arms += [(METHODS["vpns_no_prompt"].label, arm("vpns_no_prompt"))]
        at = self.parameters.vpns.control_sparsities if self._methods("ablation") else []
        self._at(at, "ablations", arms, "VPNs, changed in one thing", "Measured without the prompt.")

    def _at(
        self, sparsities: Sequence[float], name: str, arms: Sequence[tuple[str, Arm]], title: str, note: str
    ) -> None:
        every, self.runs = self.runs, self.runs[self.runs["sparsity"].isin([0.0, *sparsities])]
        try:
            self.dots(name, arms if sparsities else [], title, note)
        finally:
            self.runs = every

    def gains(self) -> None:
        """What earns the gain: from HYDRA to VPNs, one change at a time, paired by seed."""
        frames = [
            self._differences(one, other, metric).assign(row=label, panel=shown)
            for metric, shown in (("accuracy", "accuracy"), ("ece_debiased", "debiased ECE"))
            for label, one, other in STEPS
        ]
        frames = [frame for frame in frames if len(frame)]
        if not frames:
            print("not run at this scale")
            return
        table = summarise(pd.concat(frames), ["row", "panel", "group"], "difference")
        note = f"Paired by source checkpoint, target and seed; means over targets. {self._intervals()}"
        figure = dots.draw(table, "change", "From HYDRA to VPNs, one change at a time", note, zero=True)
        self._show("gains", figure)

    def against(self) -> None:
        """VPNs less every other method, paired."""
        others = self._methods("dense", "baseline", "control")
        arms = [(words(arm(name)), arm(name)) for name in others]
        arms += [(words(arm(n, "published")), arm(n, "published")) for n in ("omp", "imp") if n in others]
        frames = [self._differences(arm("vpns"), other).assign(row=label) for label, other in arms]
        frame = pd.concat([frame for frame in frames if len(frame)]).assign(panel=lambda f: f["target"])
        table = summarise(frame, ["row", "panel", "group"], "difference")
        note = f"Above zero: VPNs are better. Paired by source checkpoint and seed. {self._intervals()}"
        figure = dots.draw(table, "accuracy of VPNs less that of …", "VPNs against every other method", note, zero=True)
        self._show("against", figure)

    def _differences(self, one: Arm, other: Arm, metric: str = "accuracy") -> pd.DataFrame:
        frames = [pd.DataFrame(columns=["status", "difference", *ON, "group"])]
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            evidence = VpnsEvidence(runs)
            for sparsity in evidence.sparsities(one[0]):
                pairs = paired(evidence.of(one, sparsity), evidence.of(other, sparsity), ON, metric)
                frames.append(pairs.assign(backbone=backbone, sparsity=sparsity, group=pruning.percent(sparsity)))
        some = [frame for frame in frames if len(frame)]
        return pd.concat(some) if some else frames[0]

    def cost(self) -> None:
        """Accuracy against passes."""
        kept = self.runs["arm"].isin(["main", "published"]) & (self.runs["view"] == "bare")
        roles = self.runs["pruner"].map(lambda name: METHODS[name].role)
        frame = self.runs[kept & roles.isin(["baseline", "vpns", "control"])]
        self._show("cost", pruning.cost(frame[frame["backbone"] == self.backbones[0]]))

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
        table = pd.DataFrame(rows).groupby(["method", "arm"], sort=False)[["passes", "minutes"]].mean().reset_index()
        return self.table("cost", table.round({"passes": 0, "minutes": 3}))

    def layers(self) -> None:
        """Which layers each method empties, at each sparsity: means over cells, first seeds."""
        for sparsity in self.parameters.vpns.sparsities:
            rows: dict[str, list[dict[str, float]]] = {}
            for record in self.records.values():
                of = record["facts"]["layers"].get(f"{sparsity:g}")
                name = record["cell"]["pruner"]
                if of and METHODS[name].role in ("baseline", "vpns", "control"):
                    rows.setdefault(METHODS[name].label, []).append(of)
            means = {label: pd.DataFrame(each).mean().to_dict() for label, each in rows.items()}
            if means:
                title = f"What is left of each layer (%), {pruning.percent(sparsity)} pruned"
                self._show(f"layers_{sparsity:g}", pruning.layers(means, title))

    def channels(self) -> None:
        """Structured pruning: accuracy against cost."""
        names = self._methods("channels")
        if not names:
            print("not run at this scale")
            return
        frame = self.runs[
            self.runs["pruner"].isin(["dense", *names]) & (self.runs["arm"] == "main") & (self.runs["view"] == "bare")
        ]
        table = summarise(frame, ["target", "pruner", "sparsity"], "accuracy")
        sizes = pd.DataFrame(
            {"target": record["cell"]["target"], "pruner": record["cell"]["pruner"], "sparsity": float(key), **size}
            for record in self.records.values()
            for key, size in record["facts"]["networks"].items()
        )
        sizes = (
            sizes.groupby(["target", "pruner", "sparsity"])[["macs", "parameters", "latency_ms"]].mean().reset_index()
        )
        self._show("channels", pruning.channels(table.merge(sizes, on=["target", "pruner", "sparsity"])))

    def prompts(self) -> None:
        """The learned prompts of the first seed at the highest sparsity."""
        rows = self.runs[self.runs["prompt_png"].notna() & (self.runs["arm"] == "main")]
        rows = rows[rows["source_seed"] == rows["source_seed"].min()].sort_values("sparsity", ascending=False)
        self._show("prompts", pruning.prompts(rows.drop_duplicates(["target", "pruner"]).sort_index()))

    def reliability(self) -> None:
        """At the first of the sparsities at which controls run."""
        v = self.parameters.vpns
        frame = self.runs[(self.runs["arm"] == "main") & (self.runs["view"] == "bare")]
        frame = frame[frame["backbone"] == self.backbones[0]]
        self._show("reliability", pruning.reliability(frame, (v.control_sparsities or v.sparsities)[0]))

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
        gain = pd.DataFrame({"VPNs − best other": wide["VPNs"] - wide["best"], "VPNs − dense": wide["VPNs"] - dense})
        gain = gain.dropna().groupby("sparsity").mean().reset_index()
        rows = [
            {
                "source": "paper, mean of 8 data sets (ResNet-18)",
                "pruned": f"{s:g} %",
                "VPNs − best other": a,
                "VPNs − dense": b,
            }
            for s, a, b in gain.itertuples(index=False)
        ]
        for backbone, runs in self.runs.groupby("backbone", sort=False):
            evidence = VpnsEvidence(runs)
            for sparsity in evidence.sparsities("vpns"):
                means = {
                    name: 100 * evidence.of(arm(name), sparsity)["accuracy"].astype(float).mean()
                    for name in self._methods("dense", "baseline", "vpns")
                    if name != "imp"
                }
                others = [value for name, value in means.items() if name not in ("vpns", "dense")]
                rows.append(
                    {
                        "source": f"here, mean of {runs['target'].nunique()} target(s) ({backbone})",
                        "pruned": pruning.percent(sparsity),
                        "VPNs − best other": means["vpns"] - max(others, default=float("nan")),
                        "VPNs − dense": means["vpns"] - means["dense"],
                    }
                )
        return self.table("published", pd.DataFrame(rows).round(2))

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
        lines = ["| step | accuracy [95 %] | debiased ECE [95 %] | pairs |", "|---|---|---|---|"]
        for label, one, other in STEPS:
            cells = []
            for metric in ("accuracy", "ece_debiased"):
                frame = self._differences(one, other, metric).assign(all="")
                of_all = list(summarise(frame, ["all"], "difference").itertuples())
                some = of_all and of_all[0].n
                cells.append(f"{of_all[0].mean:+.4f} [{of_all[0].low:+.4f}, {of_all[0].high:+.4f}]" if some else "—")
            lines.append(f"| {label} | {cells[0]} | {cells[1]} | {some or 0} |")
        return Markdown("\n".join(lines))
