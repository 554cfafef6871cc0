"""Report of the final qprompt notebook: every prompter on base and new."""

from collections.abc import Sequence

import pandas as pd

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.figures import dots, panels, tables
from studies.parameters import Parameters
from studies.qprompt import figures
from studies.qprompt.evidence import GROUPS, gathered, with_harmonic_mean
from studies.qprompt.labels import COOP, MULTIMODAL, Arm, ptq, qat, words
from studies.report import METRICS, Report, with_columns
from studies.statistics import summarise
from vpstudy import paths
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.training.prompt_learning.registry import PROMPTERS

PUBLISHED_WEIGHTS = 4 * 512  # four context vectors at the width of CLIP's text tower
PUBLISHED = {  # by name in data/published/qprompt.csv
    "CLIP": ("zero_shot", "templates"),
    "CoOp": COOP,
    "CoCoOp": ("cocoop", "full"),
    "KgCoOp": ("kgcoop", "full"),
    "ProGrad": ("prograd", "full"),
    "QCoOp, 1 bit": qat(1),
    "QCoOp, 2 bits": qat(2),
    "QCoOp, 4 bits": qat(4),
    "CoOp, then 1 bit": ptq(1),
    "k-means and normalisation": ("quantizers", "never-1"),
    "k-means, normalisation and adaptive clustering": qat(1),
}


class BaseToNew(Report):
    """Results of the `prompt` cells at one scale: `runs` with rows for base, new and H, `evidence` by architecture."""

    study, stage = "qprompt", "prompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        self.read = results.read(grid.cells(parameters, "prompt"))
        frame = with_columns(self.read, *METRICS)
        self.contents = self.read.contents.values()
        self.runs, self.evidence = with_harmonic_mean(frame), gathered(frame, self.read.contents)

    @property
    def arms(self) -> list[Arm]:
        """Every arm that was run, in registry order."""
        present = self.runs.drop_duplicates(["prompter", "arm"])
        order = list(PROMPTERS)
        return sorted(zip(present["prompter"], present["arm"], strict=True), key=lambda arm: order.index(arm[0]))

    def summary(self, arms: Sequence[Arm], metric: str, groups: Sequence[str]) -> pd.DataFrame:
        """Means by row (arm), kind (prompter or variant), short (bits or noise level), panel and group (target)."""
        frames = [
            self.runs[(self.runs["prompter"] == p) & (self.runs["arm"] == a) & self.runs["group"].isin(groups)].assign(
                row=words((p, a)), kind=_kind((p, a)), short=a.partition("-")[2]
            )
            for p, a in arms
        ]
        frame = pd.concat(frames).rename(columns={"group": "panel"})
        by = ["row", "kind", "short", "panel", "target", "bytes", "prompter", "arm"]
        table = summarise(frame, by, metric).rename(columns={"target": "group"})
        return table.sort_values("panel", key=lambda column: column.map(list(groups).index), kind="stable")

    def dots(self, name: str, arms: Sequence[Arm], title: str, note: str = "", metric: str = "accuracy") -> None:
        """Show arms as dots, with a panel each for base, new and, for accuracy, H."""
        arms = [arm for arm in arms if arm in self.arms]
        if not arms:
            print(NOT_RUN)
            return
        accuracy = metric == "accuracy"
        table = self.summary(arms, metric, GROUPS if accuracy else GROUPS[:2])
        look = {"order": [words(arm) for arm in arms], "bounds": (0.0, 1.0) if accuracy else None}
        note = f"{note} {panels.seeds_note(self.runs, 'bars')}".strip()
        self.show(name, dots.draw(table, METRICS[metric], title, note, **look))


class QpromptReport(BaseToNew):
    """Figures and tables of every prompter."""

    def coverage(self) -> None:
        """Print what the notebook covers and what is missing."""
        runs, q = self.runs, self.parameters.qprompt.settings
        print(
            f"{len(self.contents)} cells: {runs['prompter'].nunique()} prompters, "
            f"{', '.join(dict.fromkeys(runs['target']))}; "
            f"{runs['source_seed'].nunique()} source checkpoint(s), {runs['seed'].nunique()} seeds; "
            f"{q.shots} training pictures a base class; context vectors from {q.context!r}."
        )
        print(f"Runs that diverged: {int((runs['status'] != 'ok').sum())}.")
        for note in self.read.notes():
            print(note)

    def everything(self, metric: str = "accuracy") -> None:
        """Every prompter that is no control, at every number of bits."""
        chosen = [arm for arm in self.arms if PROMPTERS[arm[0]].role != "control"]
        title = "Base, new, and their harmonic mean H" if metric == "accuracy" else "Calibration on base and new"
        self.dots(f"prompters_{metric}", chosen, title, metric=metric)

    def codebooks(self) -> None:
        changed = [arm for arm in self.arms if arm[0] == "quantizers"]
        bits = sorted({int(arm[1].rpartition("-")[2]) for arm in changed})
        arms = [arm for b in bits for arm in [qat(b), *(arm for arm in changed if arm[1].endswith(f"-{b}"))]]
        self.dots("codebooks", arms, "Other codebooks", "Changed in one thing against QCoOp with as many bits.")

    def size(self) -> None:
        kept = self.runs[(self.runs["bytes"] > 0) & self.runs["prompter"].map(_learned)]
        arms = list(dict.fromkeys(zip(kept["prompter"], kept["arm"], strict=True)))
        table, note = self.summary(arms, "accuracy", GROUPS), "Numbers: bits. " + panels.seeds_note(self.runs, "bars")
        title = "Accuracy against the bytes of the stored prompt"
        self.show("size", figures.scatter(table, "bytes", GROUPS, "bytes", title, note, logarithmic=True))

    def curves(self) -> None:
        """Base and new over epochs, by noise level, bits and prompter."""
        frame = pd.concat([each.curves for each in self.evidence.values()])
        frame = frame.assign(label=[words(pair) for pair in zip(frame["prompter"], frame["arm"], strict=True)])
        chosen = {
            "noise, fresh": frame["arm"].str.startswith("fresh-") | (frame["prompter"] == "coop"),
            "noise, kept": frame["arm"].str.startswith("fixed-") | (frame["prompter"] == "coop"),
            "bits": frame["prompter"].isin(["coop", "qcoop"]),
            "prompters": frame["prompter"].isin(["coop", "kgcoop", "prograd"]),
        }
        by = ["label", "epoch"]
        means = {
            name: frame[of].groupby(by, sort=False)[["base", "new"]].mean().reset_index() for name, of in chosen.items()
        }
        means = {name: table for name, table in means.items() if table["label"].nunique() > 1}
        if not means:
            print(NOT_RUN)
            return
        note = (
            "Means over runs. Diagnostics on test pictures: nothing is chosen on them. Without CoCoOp, which trains "
            f"for {self.parameters.qprompt.settings.cocoop.epochs} epochs alone."
        )
        self.show("curves", figures.curves(means, "Base and new over training", note))

    def weights(self) -> None:
        frame = pd.concat([each.weights for each in self.evidence.values()])
        if frame.empty:
            print(NOT_RUN)
            return
        order = list(dict.fromkeys(frame["arm"]))[:5]
        labels = {arm: words(("coop" if arm == "full" else "qcoop", arm)) for arm in order}
        table = frame.groupby(["arm", "epoch"])[["sigma", "ks", "kl", "beyond_3"]].mean().reset_index()
        histograms: dict = {}
        for content in self.contents:
            histograms = content["facts"]["histograms"] | histograms  # of the first source checkpoint
        note = "Above: of one run. Below: means over runs. Of quantized prompts, the full weights behind the codebook."
        self.show("weights", figures.weights(table, histograms, labels, "The weights of prompts over training", note))

    def refits(self) -> pd.DataFrame:
        """How often adaptive clustering fitted a codebook, and the used prompt's distance from its start."""
        fits = pd.concat([each.fits for each in self.evidence.values()])
        fits = fits.assign(arm=[words(arm) for arm in zip(fits["prompter"], fits["arm"], strict=True)])
        by = ["arm", "source_seed", "target", "seed"]
        runs = fits.groupby(by, sort=False)["step"].agg(["size", "last"]).groupby("arm", sort=False)
        table = runs.mean().round(1).set_axis(["fits", "last at step"], axis=1)
        table["runs that refitted"] = runs["size"].agg(lambda fits: f"{(fits > 1).sum()} of {len(fits)}")
        base = self.runs[self.runs["group"] == "base"].reindex(columns=["prompter", "arm", "distance"])
        named = [words(arm) for arm in zip(base["prompter"], base["arm"], strict=True)]
        distances = base["distance"].groupby(named).mean()
        table["distance to the start"] = distances.reindex(table.index).astype(float).round(2)
        return self.table("refits", table.reset_index())

    def sizes(self) -> pd.DataFrame:
        """Bytes of a stored prompt, here and at the width of CLIP's text tower, where the paper's ratios hold."""
        rows = []
        for content in self.contents:
            prompter, stored = content["cell"]["prompter"], {row["arm"]: row["bytes"] for row in content["rows"]}
            for arm, at_512 in content["facts"]["size_512"].items() if _learned(prompter) else ():
                row = {"arm": words((prompter, arm)), "bytes here": stored[arm], "bytes at width 512": at_512}
                rows.append(row | {"of CoOp's": f"{at_512 / stored_bytes(PUBLISHED_WEIGHTS, 16):.3f}"})
        columns = ["arm", "bytes here", "bytes at width 512", "of CoOp's"]
        return self.table("sizes", pd.DataFrame(rows, columns=columns).drop_duplicates("arm"))

    def published(self) -> pd.DataFrame:
        """The paper's averages over eleven data sets beside ours: models and data differ, only directions compare."""
        paper = pd.read_csv(paths.ROOT / "data" / "published" / "qprompt.csv")
        ok = self.runs[self.runs["status"] == "ok"]
        ours = ok.groupby(["prompter", "arm", "group"])["accuracy"].mean()
        rows = []
        for line in paper[~paper["method"].str.contains("MaPLe")].itertuples():
            theirs = dict(zip(GROUPS, (line.base, line.new, line.H), strict=True))
            row = {"table": line.table, "method": line.method}
            row |= {f"paper, {group}": "—" if pd.isna(value) else f"{value:.2f}" for group, value in theirs.items()}
            arm = PUBLISHED.get(line.method)
            row["arm here"] = words(arm) if arm else "—"
            for group in GROUPS:
                mean = ours.get((*arm, group)) if arm else None
                row[f"here, {group}"] = "—" if mean is None else f"{100 * mean:.2f}"
            rows.append(row)
        return self.table("published", pd.DataFrame(rows))

    def results(self) -> pd.DataFrame:
        """Accuracy and calibration of every arm as "mean ± half the 95 % interval"."""
        by = ["backbone", "target", "prompter", "arm", "group"]
        kept = self.runs[self.runs["group"] != "H"]
        others = {
            label: {line[1 : 1 + len(by)]: line for line in summarise(kept, by, metric).itertuples()}
            for metric, label in METRICS.items()
            if metric != "accuracy"
        }
        rows = []
        for line in summarise(self.runs, by, "accuracy").itertuples():
            row = {"backbone": line.backbone, "target": line.target, "arm": words((line.prompter, line.arm))}
            row |= {"on": line.group, METRICS["accuracy"]: tables.mean_text(line)}
            for metric, lines in others.items():
                same = lines.get(line[1 : 1 + len(by)])
                row[metric] = tables.mean_text(same) if same else "—"
            rows.append(row | {"runs": tables.seeds_text(line)})
        return self.table("results", pd.DataFrame(rows))


def _learned(prompter: str) -> bool:
    return prompter not in MULTIMODAL and PROMPTERS[prompter].role == "published"


def _kind(arm: Arm) -> str:
    """A prompter or one of its variants."""
    kinds = {"ptq": "CoOp, then few bits", "fresh": "noise, fresh", "fixed": "noise, kept"}
    return kinds.get(arm[1].partition("-")[0], PROMPTERS[arm[0]].label)
