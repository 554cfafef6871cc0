"""The final notebook of qprompt: committed results in, figures and tables out."""

from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown

from studies import grid, results
from studies.claims.claim import Finding
from studies.claims.verdict import NOT_RUN
from studies.figures import dots, panels, tables
from studies.parameters import Parameters
from studies.qprompt import figures as qprompt
from studies.qprompt.claims import (
    CONTROLS,
    COOP,
    FEWEST,
    GAIN,
    GROUPS,
    Arm,
    QpromptEvidence,
    difference,
    farther,
    gathered,
    growth,
    qat,
    with_harmonic_mean,
    words,
)
from studies.qprompt.multimodal_report import PUBLISHED as MULTIMODAL
from studies.report import METRICS, Report, with_columns
from studies.statistics import summarise
from vpstudy import paths
from vpstudy.prompts.codebook import stored_bytes
from vpstudy.training.prompt_learning.prompters import PROMPTERS

LEARNED = ("coop", "cocoop", "kgcoop", "prograd", "qcoop")
PUBLISHED_WEIGHTS = 4 * 512  # four context vectors at the width of CLIP's text tower


class QpromptStudy(Report):
    """The results of one scale, as one tidy frame.

    Attributes
    ----------
    runs
        One row for each (backbone, source checkpoint, target, prompter, arm, seed, group), "H" included.
    """

    study, stage = "qprompt", "prompt"

    def __init__(self, parameters: Parameters, save: bool):
        super().__init__(parameters, save)
        cells = grid.cells(self.parameters, "prompt")
        self._read, self.records = results.read(cells), results.read_records(cells)
        frame = with_columns(self._read, *METRICS)
        self.runs = with_harmonic_mean(frame)
        self.evidence: dict[str, QpromptEvidence] = gathered(frame, self.records)

    def coverage(self) -> None:
        """Say what the notebook rests on, and what is missing."""
        runs, q = self.runs, self.parameters.qprompt.settings
        print(
            f"{len(self.records)} cells: {runs['prompter'].nunique()} prompters, "
            f"{', '.join(dict.fromkeys(runs['target']))}; "
            f"{runs['source_seed'].nunique()} source checkpoint(s), {runs['seed'].nunique()} seeds; "
            f"{q.shots} training pictures a base class; context vectors from {q.context!r}."
        )
        print(f"Runs that diverged: {int((runs['status'] != 'ok').sum())}.")
        for note in self._read.notes():
            print(note)

    @property
    def arms(self) -> list[Arm]:
        """Every arm that was run, in the order of the registry."""
        present = self.runs.drop_duplicates(["prompter", "arm"])
        order = {name: k for k, name in enumerate(PROMPTERS)}
        pairs = zip(present["prompter"], present["arm"], strict=True)
        return sorted(pairs, key=lambda arm: order.get(arm[0], len(order)))

    def _summary(self, arms: Sequence[Arm], metric: str, groups: Sequence[str]) -> pd.DataFrame:
        """Means over targets and runs with intervals; columns row, panel, group (the target), and of `summarise`."""
        frames = [
            self.runs[(self.runs["prompter"] == p) & (self.runs["arm"] == a) & self.runs["group"].isin(groups)].assign(
                row=words((p, a)), kind=_kind((p, a)), short=words((p, a))
            )
            for p, a in arms
        ]
        frame = pd.concat(frames).rename(columns={"group": "panel"})
        by = ["row", "kind", "short", "panel", "target", "bytes", "prompter", "arm"]
        table = summarise(frame, by, metric).rename(columns={"target": "group"})
        order = {group: k for k, group in enumerate(groups)}
        return table.sort_values("panel", key=lambda column: column.map(order), kind="stable")

    def dots(self, name: str, arms: Sequence[Arm], title: str, note: str = "", metric: str = "accuracy") -> None:
        """Show arms as dots, a panel each for base, new and H; of calibration, for base and new."""
        arms = [arm for arm in arms if arm in self.arms]
        if not arms:
            print(NOT_RUN)
            return
        groups = GROUPS if metric == "accuracy" else GROUPS[:2]
        table = self._summary(arms, metric, groups)
        bounds = (0.0, 1.0) if metric == "accuracy" else None
        note = f"{note} {panels.seeds_note(self.runs, 'bars')}".strip()
        order = [words(arm) for arm in arms]
        self.show(name, dots.draw(table, METRICS[metric], title, note, order=order, bounds=bounds))

    def everything(self, metric: str = "accuracy") -> None:
        """Every prompter as published, and quantized ones at every number of bits."""
        chosen = [arm for arm in self.arms if arm[0] not in ("quantizers", "noise", "regularised")]
        title = "Base, new, and their harmonic mean H" if metric == "accuracy" else "Calibration on base and new"
        self.dots(f"prompters_{metric}", chosen, title, metric=metric)

    def codebooks(self) -> None:
        """QCoOp with its codebook changed in one thing."""
        bits = self.parameters.qprompt.settings.quantizers.bits
        changed = [arm for arm in self.arms if arm[0] == "quantizers"]
        arms = [arm for b in bits for arm in [qat(b), *(arm for arm in changed if arm[1].endswith(f"-{b}"))]]
        self.dots("codebooks", arms, "Other codebooks", "Changed in one thing against QCoOp with as many bits.")

    def controls(self) -> None:
        """What else might explain what few bits do."""
        arms = [qat(FEWEST), COOP, *CONTROLS, *(arm for arm in self.arms if arm[0] == "noise" and arm not in CONTROLS)]
        self.dots(
            "controls", arms, "Noise, or staying near the start?", "Noise in σ, deviations of the initial prompt."
        )

    def size(self) -> None:
        """H against the bytes of the stored prompt."""
        kept = self.runs[(self.runs["bytes"] > 0) & self.runs["prompter"].isin(LEARNED)]
        arms = list(dict.fromkeys(zip(kept["prompter"], kept["arm"], strict=True)))
        table = self._summary(arms, "accuracy", ["base", "new", "H"])
        table["short"] = table["arm"].map(_level)
        note = "Numbers: bits. " + panels.seeds_note(self.runs, "bars")
        title = "Accuracy against the bytes of the stored prompt"
        figure = qprompt.scatter(table, "bytes", ["base", "new", "H"], "bytes", title, note, logarithmic=True)
        self.show("size", figure)

    def distances(self) -> None:
        """New and H against how far the used prompt is from its start."""
        by = ["prompter", "arm"]
        found = self.runs[self.runs["distance"].notna()].groupby(by)["distance"].mean()
        arms = [arm for arm in self.arms if arm in found.index]
        table = self._summary(arms, "accuracy", ["base", "new", "H"])
        table["distance"] = [found[p, a] for p, a in zip(table["prompter"], table["arm"], strict=True)]
        table["short"] = table["arm"].map(_level)
        note = "Numbers: bits, or noise in deviations of the initial prompt, in which the RMS distance is told, too."
        note = f"{note} {panels.seeds_note(self.runs, 'bars')}"
        title = "Does it matter how far a prompt went?"
        self.show(
            "distances", qprompt.scatter(table, "distance", ["base", "new", "H"], "distance to the start", title, note)
        )

    def curves(self) -> None:
        """Base and new over epochs, by level of noise and by number of bits."""
        frame = pd.concat([e.curves for e in self.evidence.values()])
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
        self.show("curves", qprompt.curves(means, "Base and new over training", note))

    def weights(self) -> None:
        """What happens to the weights of a prompt while it learns."""
        frame = pd.concat([e.weights for e in self.evidence.values()])
        if frame.empty:
            print(NOT_RUN)
            return
        order = list(dict.fromkeys(frame["arm"]))[:5]
        labels = {arm: words(("coop" if arm == "full" else "qcoop", arm)) for arm in order}
        table = frame.groupby(["arm", "epoch"])[["sigma", "ks", "kl", "beyond_3"]].mean().reset_index()
        histograms: dict = {}
        for record in self.records.values():
            for arm, of in record["facts"]["histograms"].items():
                histograms.setdefault(arm, of)
        note = "Above: of one run. Below: means over runs. Of quantized prompts, the full weights behind the codebook."
        self.show("weights", qprompt.weights(table, histograms, labels, "The weights of prompts over training", note))

    def refits(self) -> pd.DataFrame:
        """How often adaptive clustering fitted a codebook anew, and how far the used prompt went from its start."""
        columns = ["arm", "fits", "last at step", "anew"]
        rows = [
            (words((record["cell"]["prompter"], arm)), len(steps), steps[-1], len(steps) > 1)
            for record in self.records.values()
            for arm, seeds in record["facts"]["refits"].items()
            for steps in seeds.values()
        ]
        by = pd.DataFrame(rows, columns=columns).groupby("arm", sort=False)
        table = by[columns[1:3]].mean().round(1)
        table["runs that fitted anew"] = by["anew"].agg(lambda anew: f"{anew.sum()} of {len(anew)}")
        base = self.runs[self.runs["group"] == "base"]
        named = [words(arm) for arm in zip(base["prompter"], base["arm"], strict=True)]
        distances = base.reindex(columns=["distance"]).groupby(named)["distance"].mean()
        table["distance to the start"] = distances.reindex(table.index).astype(float).round(2)
        return self.table("refits", table.reset_index())

    def sizes(self) -> pd.DataFrame:
        """Bytes of a stored prompt, here and at the width of CLIP's text tower, where the paper's ratios hold."""
        rows = []
        for record in self.records.values():
            prompter, stored = record["cell"]["prompter"], {row["arm"]: row["bytes"] for row in record["rows"]}
            for arm, at_512 in record["facts"]["size_512"].items() if prompter in LEARNED else ():
                row = {"arm": words((prompter, arm)), "bytes here": stored[arm], "bytes at width 512": at_512}
                rows.append(row | {"of CoOp's": f"{at_512 / stored_bytes(PUBLISHED_WEIGHTS, 16):.3f}"})
        columns = ["arm", "bytes here", "bytes at width 512", "of CoOp's"]
        return self.table("sizes", pd.DataFrame(rows, columns=columns).drop_duplicates("arm"))

    def published(self) -> pd.DataFrame:
        """The paper's averages of eleven data sets beside this scale's: other models and data; directions compare.

        Prompts for both towers have a table of their own (`qprompt_multimodal`).
        """
        paper = pd.read_csv(paths.ROOT / "data" / "published" / "qprompt.csv")
        paper = paper[~paper["method"].isin(MULTIMODAL)]
        ours = {
            "CLIP": ("zero_shot", "templates"),
            "CoOp": COOP,
            "CoCoOp": ("cocoop", "full"),
            "KgCoOp": ("kgcoop", "full"),
            "ProGrad": ("prograd", "full"),
            "QCoOp, 1 bit": qat(1),
            "QCoOp, 2 bits": qat(2),
            "QCoOp, 4 bits": qat(4),
            "CoOp, then 1 bit": ("coop", "ptq-1"),
            "k-means and normalisation": ("quantizers", "never-1"),
            "k-means, normalisation and adaptive clustering": qat(1),
        }
        rows = []
        for line in paper.itertuples():
            row = {"table": line.table, "method": line.method}
            row |= {
                f"paper, {g}": "—" if pd.isna(v) else f"{v:.2f}"
                for g, v in zip(GROUPS, (line.base, line.new, line.H), strict=True)
            }
            arm = ours.get(line.method)
            row["arm here"] = words(arm) if arm else "—"
            for group in GROUPS:
                mine = self.runs[(self.runs["group"] == group) & (self.runs["status"] == "ok")]
                mine = mine[(mine["prompter"] == arm[0]) & (mine["arm"] == arm[1])] if arm else mine.iloc[:0]
                row[f"here, {group}"] = f"{100 * mine['accuracy'].mean():.2f}" if len(mine) else "—"
            rows.append(row)
        return self.table("published", pd.DataFrame(rows))

    def why(self) -> pd.DataFrame:
        """QCoOp at the fewest bits less each control, paired, with what that says in words, and which went farther."""
        rows = []
        for backbone, evidence in self.evidence.items():
            for control in (COOP, *CONTROLS):
                row = {"backbone": backbone, "QCoOp less": words(control)}
                for group in ("new", "H"):
                    found = difference(evidence, qat(FEWEST), control, group)
                    row[f"{group} [95 %]"], row[f"{group}: so"] = _told(found)
                found = farther(evidence, qat(FEWEST), control)
                row["distance to the start [95 %]"] = tables.interval_text(found.effect, 2) if found else "—"
                rows.append(row)
        return self.table("why", pd.DataFrame(rows))

    def conclusion(self) -> Markdown:
        """Answers to the question of the controls, from the intervals alone."""
        lines = []
        for backbone, evidence in self.evidence.items():
            asked = (
                ("Few bits instead of full weights", COOP),
                ("Few bits instead of noise of their error's size at the start, kept", ("noise", "fixed-matched")),
                ("The same noise, fresh at each step", ("noise", "fresh-matched")),
                (
                    "Learning with few bits instead of the hand-written prompt with as few",
                    ("zero_shot", f"hand-{FEWEST}"),
                ),
                ("Few bits instead of a pull to the start (KgCoOp)", ("kgcoop", "full")),
                ("Few bits instead of stopping early", ("regularised", "early")),
            )
            for question, control in asked:
                text, so = _told(difference(evidence, qat(FEWEST), control, "new"))
                lines.append(f"- {question} ({backbone}): accuracy on new {text}, {so}.")
            if ratio := growth(evidence, qat(FEWEST)):
                lines.append(
                    f"- The deviation of the weights behind the codebook ends at {ratio:.1f} times that at the start "
                    f"({backbone}), and a codebook's error grows with it: that noise is matched at the start alone."
                )
            if found := farther(evidence, qat(FEWEST), COOP):
                lines.append(
                    f"- Does a prompt of few bits stay nearer to its start than CoOp ({backbone})? Distance "
                    f"{tables.interval_text(found.effect, 2)}, in deviations of the initial prompt: {_went(found)}."
                )
        return Markdown("\n".join(lines))

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
            for metric, found in others.items():
                same = found.get(line[1 : 1 + len(by)])
                row[metric] = tables.mean_text(same) if same else "—"
            rows.append(row | {"runs": tables.seeds_text(line)})
        return self.table("results", pd.DataFrame(rows))


def _kind(arm: Arm) -> str:
    """A prompter, or, of one with several ways, the way."""
    kinds = {"ptq": "CoOp, then few bits", "fresh": "noise, fresh", "fixed": "noise, kept"}
    return kinds.get(arm[1].partition("-")[0], PROMPTERS[arm[0]].label)


def _level(arm: str) -> str:
    """What differs within a kind: the bits or the level of noise; nothing for what is alone."""
    return arm.partition("-")[2]


def _went(found: Finding) -> str:
    """What a difference of distances says."""
    effect = found.effect
    if effect.n < 2:
        return "no interval"
    if effect.low <= 0 <= effect.high:
        return "not resolved"
    return "it ends farther" if effect.mean > 0 else "it ends nearer"


def _told(found: Finding | None) -> tuple[str, str]:
    """A difference as text, and what its interval says beside the smallest effect of interest."""
    if found is None or not found.effect.n:
        return "—", NOT_RUN
    effect = found.effect
    text = tables.interval_text(effect)
    if effect.n < 2:
        return text, "one replicate has no interval"
    if effect.low > 0:
        return text, "few bits are better"
    if effect.high < 0:
        return text, "few bits are worse"
    return text, f"the same within {GAIN:g}" if max(-effect.low, effect.high) < GAIN else "not resolved"
