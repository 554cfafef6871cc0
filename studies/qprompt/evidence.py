"""Evidence for the qprompt claims: runs with harmonic means, training curves, paired differences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from studies import grid, results
from studies.claims.claim import ON, Finding, compared
from studies.parameters import Parameters
from studies.qprompt.labels import Arm, words
from studies.results import Results
from studies.statistics import paired, pooled, without_block

GROUPS = ("base", "new", "H")
IDENTITY = ["backbone", "source_seed", "target", "prompter", "arm", "seed"]  # of a run
FACTS = {"curves": "curves", "weights": "weights", "fits": "refits"}  # of the evidence, in results


@dataclass(frozen=True)
class QpromptEvidence:
    """The qprompt results of one scale."""

    runs: pd.DataFrame  # by prompter, arm, seed and group; "H" has the harmonic mean as its accuracy
    # By prompter, arm, seed and epoch: accuracy on base and new; sigma, ks, beyond_3, kurtosis, kl.
    curves: pd.DataFrame = field(default_factory=lambda: _table((), ""))
    weights: pd.DataFrame = field(default_factory=lambda: _table((), ""))
    fits: pd.DataFrame = field(default_factory=lambda: _table((), ""))  # each fit of a codebook, the first included

    def by_architecture(self) -> dict[str, "QpromptEvidence"]:
        """The results of each architecture by itself, or of all together if each has a single network."""
        tables = {name: pooled(getattr(self, name)) for name in ("runs", *FACTS)}
        return {
            backbone: QpromptEvidence(**{name: table[table["backbone"] == backbone] for name, table in tables.items()})
            for backbone in tables["runs"]["backbone"].unique()
        }

    def without(self, block: int) -> "QpromptEvidence":
        """The results without a block of test pictures."""
        runs = without_block(self.runs[self.runs["group"] != "H"], block)
        return replace(self, runs=with_harmonic_mean(runs))

    def targets(self, arms: Iterable[Arm]) -> list[str]:
        """The targets that every arm was run on."""
        each = [set(_of(self.runs, arm)["target"]) for arm in arms]
        return [name for name in self.runs["target"].unique() if all(name in of for of in each)]

    def on(self, targets: Sequence[str]) -> "QpromptEvidence":
        """The results on some targets alone."""
        tables = {name: getattr(self, name) for name in ("runs", *FACTS)}
        return QpromptEvidence(**{name: _on(targets, table) for name, table in tables.items()})

    def of(self, arm: Arm, group: str) -> pd.DataFrame:
        runs = _of(self.runs, arm)
        return runs[runs["group"] == group]

    def bits(self) -> list[int]:
        return sorted({int(bits) for bits in self.runs.loc[self.runs["prompter"] == "qcoop", "bits"].dropna()})

    def difference(self, one: Arm, other: Arm, group: str, metric: str = "accuracy") -> Finding | None:
        """`one` minus `other` on base, new or H; None if either was not run."""
        pairs = paired(self.of(one, group), self.of(other, group), ON, metric)
        if pairs.empty:
            return None
        return compared(f"{words(one)} − {words(other)}, {group}", pairs, "diverged")

    def farther(self, one: Arm, other: Arm) -> Finding | None:
        """How much farther the used prompt of `one` ends from its start than that of `other`, in initial deviations.

        None if either was not run or is no learned prompt.
        """
        runs = [self.of(arm, "base") for arm in (one, other)]
        if any("distance" not in of or of["distance"].isna().all() for of in runs):
            return None
        return self.difference(one, other, "base", "distance")


def evidence(parameters: Parameters, read: Results) -> QpromptEvidence | None:
    """Evidence of all networks, few-shot learning and prompts for both towers included; None if there are no runs."""
    few, multimodal = (results.read(grid.cells(parameters, stage)).frame for stage in ("few_shot", "multimodal"))
    frames = [frame for frame in (read.frame, few_shot(few), multimodal) if len(frame)]
    return gathered(pd.concat(frames), read.contents) if frames else None


def gathered(runs: pd.DataFrame, contents: Sequence[dict[str, Any]]) -> QpromptEvidence:
    """Evidence of all networks. A hand-written prompt in both `prompt` and `multimodal` cells is kept once."""
    runs = with_harmonic_mean(runs.drop_duplicates([*IDENTITY, "group"]))
    return QpromptEvidence(runs, **{name: _table(contents, fact) for name, fact in FACTS.items()})


def _table(contents: Sequence[dict[str, Any]], fact: str) -> pd.DataFrame:
    """A fact of results as a frame, with a row for each entry of each arm and seed."""
    rows = [
        {name: cell[name] for name in IDENTITY[:4]}
        | {"arm": arm, "seed": int(seed)}
        | (entry if isinstance(entry, dict) else {"step": entry})
        for cell, facts in ((each["cell"], each["facts"]) for each in contents)
        for arm, seeds in facts.get(fact, {}).items()
        for seed, entries in seeds.items()
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=None if rows else [*IDENTITY, "epoch"])


def _of(table: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    return table[(table["prompter"] == arm[0]) & (table["arm"] == arm[1])]


def _on(targets: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    return table if table.empty else table[table["target"].isin(targets)]


def ends(table: pd.DataFrame, arm: Arm, column: str) -> pd.DataFrame:
    """Values of `column` at the start and end of training for each run of an arm: `ON`, first, last."""
    mine = _of(table, arm)
    if mine.empty:
        return pd.DataFrame(columns=[*ON, "first", "last"])
    return mine.sort_values("epoch").groupby(ON)[column].agg(["first", "last"]).reset_index()


def with_harmonic_mean(runs: pd.DataFrame) -> pd.DataFrame:
    """Adds a row of the group "H" for each run that has base and new."""
    base, new = (runs[runs["group"] == group] for group in ("base", "new"))
    both = base.merge(new[[*IDENTITY, "accuracy", "status"]], on=IDENTITY, suffixes=("", "_new"))
    b, n = both["accuracy"].astype(float), both["accuracy_new"].astype(float)
    ok = (both["status"] == "ok") & (both["status_new"] == "ok")
    mean = (2 * b * n / (b + n).where(b + n > 0, 1.0)).where(ok)
    harmonic = both.drop(columns=["accuracy_new", "status_new", "accuracy", "status", "group"]).assign(
        accuracy=mean, status=ok.map({True: "ok", False: "diverged"}), group="H"
    )
    return pd.concat([runs, harmonic[[c for c in runs.columns if c in harmonic]]], ignore_index=True)


def few_shot(runs: pd.DataFrame) -> pd.DataFrame:
    """Learned rows of the stage `few_shot`, with each number of pictures as an arm: "qat-1 of 4"."""
    if runs.empty:
        return runs
    mine = runs[runs["budget"] != "0"]
    return mine.assign(prompter="few_shot", arm=mine["arm"] + " of " + mine["budget"])
