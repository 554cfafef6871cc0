"""The claims of arXiv 2308.14969, H1 to H7: estimand, test and smallest effect of interest, set before any run.

A run's *change* is its value less that of the dense run with the same backbone, source checkpoint, target, method,
budget and seed; after recovery by distillation, of a dense network that was distilled, too. Changes are averaged with
equal weights over budgets, then over targets. Targets with fewer than 300 test pictures are shown but stay out of
pooled calibration. The primary sparsity is the largest of iterative pruning; for a backbone without it, the largest of
one-shot pruning with recovery, whose upstream accuracy is agreement with dense. The primary quantization is that of the
paper, weights and activations at 4 and 3 bits, quantized in training if that was run, else after training.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from studies import grid, results
from studies.claims.claim import Claim, Finding, finding
from studies.claims.verdict import Test
from studies.hidden_cost.twins import TWINS, share
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import against_dense
from vpstudy.compression.registry import parse

PAPER, STAGE = "arXiv 2308.14969", "transfer"
SMALL_TEST = 300  # test pictures below which a target stays out of pooled calibration
EQUAL_UPSTREAM = 0.01  # upstream accuracies this close count as equal
ASSUMED_DEVIATION = 0.015  # of a replicate's pooled change of the debiased ECE, for the expected power; a guess
ACCURACY, ECE, LOG_ODDS, SHARE = 0.02, 0.02, 0.2, 0.10  # smallest effects of interest
CLOSE_UPSTREAM = 0.10  # largest loss upstream of the networks that a line through upstream accuracy is fitted to
RUN = ["source_seed", "seed", "target", "budget"]  # what identifies a run of one method and compression

Names = Callable[["Evidence"], list[str]]  # of compressions


@dataclass(frozen=True)
class Evidence:
    """The results of one architecture at one scale.

    Attributes
    ----------
    runs
        Tidy, a row for each run, controls included.
    backbones
        A row for each compression and source checkpoint: upstream accuracy.
    facts
        By target, those of a transfer cell: classes, source_classes, and how many pictures there are for what.
    """

    runs: pd.DataFrame
    backbones: pd.DataFrame
    facts: dict[str, dict[str, Any]]

    @property
    def sparsest(self) -> str | None:
        """Of iterative pruning, else of one-shot pruning with recovery."""
        pruned = [parse(name) for name in self.runs["compression"].unique()]
        for family in ("imp", "magnitude_distilled"):
            if rounds := [each for each in pruned if each.family == family]:
                return max(rounds, key=lambda each: each.sparsity).name
        return None

    def has(self, *names: str) -> list[str]:
        return [name for name in names if name in set(self.runs["compression"])]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """The paired changes of the runs that finished: `RUN`, value."""
        runs = self.runs[self.runs["method"] == method]
        recovered = parse(compression).family == "magnitude_distilled" and self.has("dense_distilled")
        dense = "dense_distilled" if recovered else "dense"
        runs = runs[runs["compression"].isin([dense, compression])].replace({"compression": {dense: "dense"}})
        changes = against_dense(runs, metric)
        changes = changes[changes["status"] == "ok"]
        return changes.rename(columns={"difference": "value"})[[*RUN, "value"]]


def evidence(parameters: Parameters, read: Results) -> dict[str, Evidence]:
    """By architecture, from the results of the transfer cells."""
    facts = {dict(cell.axes)["target"]: content["facts"] for cell, content in read.contents.items()}
    backbones = results.read(grid.cells(parameters, "compress")).frame.rename(columns={"accuracy": "upstream_accuracy"})
    return {
        name: Evidence(runs, backbones[backbones["backbone"] == name], facts)
        for name, runs in read.frame.groupby("backbone", sort=False)
    }


def _on(of: Callable[[Evidence, str], Finding], *names: Names) -> Callable[[Evidence], list[Finding]]:
    """A finding for each compression with a visual prompting run that finished."""

    def measure(found: Evidence) -> list[Finding]:
        runs = found.runs[(found.runs["status"] == "ok") & (found.runs["method"] == "visual_prompting")]
        some = set(runs["compression"])
        return [of(found, name) for each in names for name in each(found) if name in some]

    return measure


def _all(*measures: Callable[[Evidence], Iterable[Finding]]) -> Callable[[Evidence], list[Finding]]:
    return lambda found: [each for measure in measures for each in measure(found)]


def _sparsest(found: Evidence) -> list[str]:
    return [found.sparsest] if found.sparsest else []


def _others(found: Evidence) -> list[str]:
    return [n for n in dict.fromkeys(found.runs["compression"]) if n not in ("dense", found.sparsest)]


def _other_sparsities(found: Evidence) -> list[str]:
    return [name for name in _others(found) if parse(name).sparsity]


def _quantized(found: Evidence) -> list[str]:
    return found.has("w4a4-lsq", "w3a3-lsq") or found.has("w4a4", "w3a3")


def _other_bits(found: Evidence) -> list[str]:
    return [name for name in _others(found) if parse(name).bits and name not in _quantized(found)]


def _equal_upstream(found: Evidence) -> list[str]:
    """The sparsest round whose upstream accuracy is about that of dense, from the same source checkpoints."""
    accuracy = found.backbones.groupby("compression")["upstream_accuracy"].mean()
    rounds = [c for c in map(parse, accuracy.index) if c.family == "imp"]
    equal = [c for c in rounds if abs(accuracy[c.name] - accuracy["dense"]) <= EQUAL_UPSTREAM]
    return [max(equal, key=lambda c: c.sparsity).name] if equal else []


def _change(metric: str, method: str = "visual_prompting", suffix: str = "") -> Callable[[Evidence, str], Finding]:
    def of(found: Evidence, compression: str) -> Finding:
        values = found.changes(metric, compression, method)
        large = [t for t in values["target"].unique() if found.facts[t]["pictures"]["test"] >= SMALL_TEST]
        return finding(compression + suffix, values, large if large and metric != "accuracy" else None)

    return of


def _by_budget(method: str) -> Callable[[Evidence], list[Finding]]:
    """The change at the smallest budget less that at the largest, at the primary sparsity."""

    def measure(found: Evidence) -> list[Finding]:
        runs = found.runs[(found.runs["method"] == method) & (found.runs["status"] == "ok")]
        runs = runs[runs["compression"] == found.sparsest]
        if runs["budget"].nunique() < 2:
            return []
        values = found.changes("accuracy", found.sparsest, method)
        order = sorted(values["budget"].unique(), key=lambda b: float("inf") if b == "all" else int(b))
        keys = ["source_seed", "seed", "target"]
        small, large = (values[values["budget"] == b].set_index(keys)["value"] for b in (order[0], order[-1]))
        label = f"{found.sparsest}, {order[0]} against {order[-1]} a class"
        return [finding(label, (small - large).dropna().reset_index())]

    return measure


def log_odds(accuracy: pd.Series, classes: pd.Series, pictures: pd.Series) -> pd.Series:
    """log p / (1 − p) of the share p of what lies between chance and 1, kept half a picture away from 0 and from 1."""
    share = (accuracy.astype(float) - 1 / classes) / (1 - 1 / classes)
    edge = 0.5 / pictures
    share = share.clip(edge, 1 - edge)
    return np.log(share / (1 - share))


def _against_probe(metric: str) -> Callable[[Evidence, str], Finding]:
    """The change of visual prompting less that of the linear probe."""

    def of(found: Evidence, compression: str) -> Finding:
        if metric == "log_odds":
            counts = {t: (len(fact["classes"]), fact["pictures"]["test"]) for t, fact in found.facts.items()}
            classes, pictures = (found.runs["target"].map(lambda t, k=k: counts[t][k]) for k in (0, 1))
            odds = log_odds(found.runs["accuracy"], classes, pictures)
            found = replace(found, runs=found.runs.assign(log_odds=odds))
        prompt, probe = (
            found.changes(metric, compression, method).set_index(RUN)["value"]
            for method in ("visual_prompting", "linear_probe")
        )
        return finding(f"{compression}, {metric.replace('_', '-')}", (prompt - probe).dropna().reset_index())

    return of


def _at_equal_upstream(found: Evidence) -> list[Finding]:
    """The change of accuracy at an unchanged upstream accuracy: the intercept of a line, for each run.

    The line goes through the pruned networks that lose at most `CLOSE_UPSTREAM` upstream.
    """
    upstream = found.backbones.set_index(["source_seed", "compression"])["upstream_accuracy"]
    points = []
    for name in (n for n in dict.fromkeys(found.runs["compression"]) if parse(n).sparsity):
        changes = found.changes("accuracy", name)
        sources = changes["source_seed"]
        loss = {s: upstream.get((s, name), np.nan) - upstream.get((s, "dense"), np.nan) for s in sources.unique()}
        points.append(changes.assign(upstream=sources.map(loss)))
    if not points:
        return []
    close = pd.concat(points)
    close = close[close["upstream"].abs() <= CLOSE_UPSTREAM]
    rows = [
        dict(zip(RUN, key, strict=True)) | {"value": np.polyfit(group["upstream"], group["value"], 1)[1]}
        for key, group in close.groupby(RUN)
        if group["upstream"].nunique() > 2
    ]
    return [finding(f"pruned, within {CLOSE_UPSTREAM:g} upstream: intercept", pd.DataFrame(rows))] if rows else []


def _twins(found: Evidence, compression: str) -> Finding:
    """The change of the share of target classes that are mapped to a twin."""
    runs = found.runs[(found.runs["method"] == "visual_prompting") & found.runs["target"].isin(list(TWINS))]
    shares = [
        share(target, found.facts[target]["classes"], [found.facts[target]["source_classes"][s] for s in mapping])
        if status == "ok"
        else np.nan
        for target, mapping, status in zip(runs["target"], runs["mapping"], runs["status"], strict=True)
    ]
    return finding(compression, replace(found, runs=runs.assign(twins=shares)).changes("twins", compression))


def _with_twins(names: Names) -> Names:
    return lambda found: names(found) if set(found.runs["target"]) & set(TWINS) else []


CLAIMS = (
    Claim(
        "H1",
        "A visual prompt is less accurate on a compressed backbone than on the dense one",
        "accuracy falls with sparsity",
        "change of VP accuracy, sparsest primary network",
        Test("one-sided", -1, ACCURACY),
        "accuracy",
        _on(_change("accuracy"), _sparsest),
        _on(_change("accuracy"), _others),
    ),
    Claim(
        "H2",
        "The loss is larger where there is little target data",
        "the change is lower at the small budget; an author's talk says the opposite",
        "change of VP accuracy at the smallest budget less that at the largest, at a fixed number of steps",
        Test("two-sided", -1, ACCURACY),
        "accuracy",
        _by_budget("visual_prompting"),
        _by_budget("fixed_epochs"),
    ),
    Claim(
        "H3",
        "Sparsity worsens the calibration of visually prompted models",
        "calibration error rises with sparsity",
        "change of the debiased ECE of VP, sparsest primary network",
        Test("one-sided", +1, ECE),
        "debiased ECE",
        _on(_change("ece_debiased"), _sparsest),
        _on(_change("ece_debiased"), _other_sparsities),
    ),
    Claim(
        "H4",
        "Quantization does not worsen the calibration of visually prompted models",
        "calibration error stays",
        "change of the debiased ECE of VP, weights and activations at 4 and 3 bits (LSQ where run); all must hold",
        Test("equivalence", +1, ECE),
        "debiased ECE",
        _on(_change("ece_debiased"), _quantized),
        _all(
            _on(_change("ece_debiased"), _other_bits),
            _on(_change("nll", suffix=", NLL (nats)"), _quantized, _other_bits),
        ),
    ),
    Claim(
        "H5",
        "A visual prompt suffers more from sparsity than a linear probe does",
        "the prompt's loss is larger",
        "change of VP less that of LP, in log-odds of the accuracy above chance",
        Test("one-sided", -1, LOG_ODDS),
        "log-odds",
        _on(_against_probe("log_odds"), _sparsest),
        _all(_on(_against_probe("accuracy"), _sparsest, _others), _on(_against_probe("log_odds"), _others)),
    ),
    Claim(
        "H6",
        "Some targets are hurt although upstream accuracy is about equal",
        "at least one target loses",
        f"change of VP accuracy by target, sparsest round within {EQUAL_UPSTREAM} of dense upstream",
        Test("one-sided", -1, ACCURACY),
        "accuracy",
        _on(_change("accuracy"), _equal_upstream),
        _all(_at_equal_upstream, _on(_change("accuracy", "linear_probe"), _equal_upstream)),
        any_target=True,
    ),
    Claim(
        "H7",
        "Label mappings on sparse backbones are less semantic",
        "fewer target classes are mapped to a twin",
        "change of the share of digits mapped to a semantic twin, sparsest primary network",
        Test("one-sided", -1, SHARE),
        "share of classes",
        _on(_twins, _with_twins(_sparsest)),
        _on(_twins, _with_twins(_others)),
    ),
)
