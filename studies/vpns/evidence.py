"""Paired comparisons between ways to prune, at the same sparsity."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from studies.claims.claim import ON, Finding, compared, replicates
from studies.claims.verdict import Effect
from studies.statistics import paired
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

BASELINES = tuple(name for name, method in METHODS.items() if method.role == "baseline")
SINGLE_PASS = ("random", "snip", "grasp", "synflow", "omp", "hydra", "bip")  # baselines that do not iterate
ADDED = ("prompt_only", "prompt_after")  # a prompt is added to an unchanged network

Arm = tuple[str, str, str]  # pruner, arm, view
Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class VpnsEvidence:
    """Results of one backbone at one scale: a row for each run, arm and view."""

    runs: pd.DataFrame

    def of(self, arm: Arm, sparsity: float) -> pd.DataFrame:
        """The runs of an arm at a sparsity; dense runs match every sparsity."""
        pruner, *_ = arm
        runs = select(self.runs, arm)
        return runs[runs["sparsity"] == (0.0 if pruner == "dense" else sparsity)]

    def sparsities(self, pruner: str, arm: str = "main") -> list[float]:
        runs = self.runs
        return sorted(set(runs.loc[(runs["pruner"] == pruner) & (runs["arm"] == arm), "sparsity"]))

    def on(self, target: str) -> "VpnsEvidence":
        return VpnsEvidence(self.runs[self.runs["target"] == target])

    def asked(self, one: Arm, other: Arm, sparsity: float) -> int:
        """Number of paired runs, finished or not."""
        return len(self.of(one, sparsity)[ON].merge(self.of(other, sparsity)[ON], on=ON))


def select(runs: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    pruner, name, view = arm
    return runs[(runs["pruner"] == pruner) & (runs["arm"] == name) & (runs["view"] == view)]


def arm(pruner: str, name: str = "main", view: str | None = None) -> Arm:
    """An arm. By default it is measured with its prompt only if `name` is in `ADDED`."""
    return pruner, name, view or ("prompted" if name in ADDED else "bare")


def treatment(name: str, view: str) -> str:
    """Label of what was done with a mask, with the view where that is unusual."""
    words = CONTROLS[name].label if name in CONTROLS else {"main": "tuned"}.get(name, name)
    if view == "prompted" and name not in ADDED:
        return f"{words}, with prompt"
    return f"{words}, taken off again" if view == "bare" and name in ADDED else words


def words(arm: Arm) -> str:
    """Label of an arm, such as "OMP, two passes", without the default ", tuned"."""
    pruner, name, view = arm
    return f"{METHODS[pruner].label}, {treatment(name, view)}".replace(", tuned", "")


def percent(sparsity: float) -> str:
    return f"{100 * sparsity:.0f} %"


def comparable(evidence: VpnsEvidence, one: Arm, other: Arm, sparsity: float, metric: str) -> pd.DataFrame:
    """`one` minus `other` over finished pairs. Leaves out those whose `other` collapsed: beating it is no win."""
    others = evidence.of(other, sparsity)
    pairs = paired(evidence.of(one, sparsity), others[~others["collapsed"].eq(True)], ON, metric)
    return pairs[pairs["status"] == "ok"]


def difference(
    evidence: VpnsEvidence, one: Arm, other: Arm, sparsity: float, metric: str = "accuracy"
) -> Finding | None:
    """`one` minus `other` at a sparsity; None if either was not run. The label counts the pairs left out."""
    asked = evidence.asked(one, other, sparsity)
    if not asked:
        return None
    label = f"{words(one)} − {words(other)}, {percent(sparsity)}"
    return compared(label, comparable(evidence, one, other, sparsity, metric), asked, "collapsed or diverged")


def changes(
    evidence: VpnsEvidence,
    pairs: Sequence[tuple[str, Arm, Arm]],
    metric: str = "accuracy",
    by_target: bool = False,
    by_sparsity: bool = True,
) -> pd.DataFrame:
    """Effects of (label, one, other) with 95 % intervals over replicates, as for the claims.

    `row` is the label, `group` the sparsities; `n` and `n_diverged` count the pairs compared and left out.
    """
    rows = []
    for label, one, other in pairs:
        sparsities = evidence.sparsities(*one[:2])
        for group in [[each] for each in sparsities] if by_sparsity else [sparsities]:
            for target in dict.fromkeys(evidence.runs["target"]) if by_target else [None]:
                here = evidence.on(target) if target else evidence
                values = [comparable(here, one, other, sparsity, metric) for sparsity in group]
                values = pd.concat(values).rename(columns={"difference": "value"}) if values else pd.DataFrame()
                asked = sum(here.asked(one, other, sparsity) for sparsity in group)
                if asked:
                    effect = Effect.of(replicates(values)) if len(values) else Effect.none()
                    row = {"row": label, "group": " and ".join(map(percent, group)), "target": target}
                    row |= {"n": len(values), "n_diverged": asked - len(values), "replicates": effect.n}
                    rows.append(row | {"mean": effect.mean, "low": effect.low, "high": effect.high})
    columns = ["row", "group", "target", "n", "n_diverged", "mean", "low", "high", "replicates"]
    return pd.DataFrame(rows, columns=columns)
