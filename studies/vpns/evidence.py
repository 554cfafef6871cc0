"""Paired comparisons between ways to prune, at the same sparsity."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from studies.claims.claim import ON, Finding, compared, replicates
from studies.claims.verdict import Effect
from studies.statistics import paired, without_block
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

    def without(self, block: int) -> "VpnsEvidence":
        """The results without a block of test pictures."""
        return VpnsEvidence(without_block(self.runs, block))


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


def pairs_of(evidence: VpnsEvidence, one: Arm, other: Arm, sparsity: float, metric: str = "accuracy") -> pd.DataFrame:
    """`paired` differences of `one` minus `other`. A pair whose `other` collapsed is not "ok": beating it is no win."""
    others = evidence.of(other, sparsity)
    others = others.assign(status=others["status"].mask(others["collapsed"].eq(True), "collapsed"))
    return paired(evidence.of(one, sparsity), others, ON, metric)


def difference(evidence: VpnsEvidence, one: Arm, other: Arm, sparsity: float) -> Finding | None:
    """`one` minus `other` at a sparsity; None if either was not run. The label counts the pairs left out."""
    pairs = pairs_of(evidence, one, other, sparsity)
    if pairs.empty:
        return None
    label = f"{words(one)} − {words(other)}, {percent(sparsity)}"
    return compared(label, pairs, "collapsed or diverged")


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
                pairs = [pairs_of(here, one, other, sparsity, metric) for sparsity in group]
                pairs = pd.concat(pairs).rename(columns={"difference": "value"}) if pairs else pd.DataFrame()
                if len(pairs):
                    values = pairs[pairs["status"] == "ok"]
                    effect = Effect.of(replicates(values)) if len(values) else Effect.none()
                    row = {"row": label, "group": " and ".join(map(percent, group)), "target": target}
                    row |= {"n": len(values), "n_diverged": len(pairs) - len(values), "replicates": effect.n}
                    rows.append(row | {"mean": effect.mean, "low": effect.low, "high": effect.high})
    columns = ["row", "group", "target", "n", "n_diverged", "mean", "low", "high", "replicates"]
    return pd.DataFrame(rows, columns=columns)
