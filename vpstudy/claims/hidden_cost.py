"""The claims of arXiv 2308.14969, H1 to H7: estimand, test and smallest effect of interest, set before any run.

A run's *change* is its value less that of the dense run with the same backbone, source checkpoint, target, method,
budget and seed. Changes are averaged with equal weights, over budgets and then over targets, which are fixed effects;
what is left is one value for each seed of each source checkpoint. Targets with fewer than 300 test pictures are shown
but stay out of pooled calibration. The primary sparsity is the largest of iterative pruning, the primary quantization
weights and activations at 4 and, where it was run, 3 bits. Every claim is judged on the first backbone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpstudy.claims import twins
from vpstudy.claims.verdict import Effect, Test
from vpstudy.compression.names import parse
from vpstudy.statistics import against_dense

SMALL_TEST = 300  # test pictures below which a target stays out of pooled calibration
EQUAL_UPSTREAM = 0.01  # upstream accuracies this close count as equal
ASSUMED_DEVIATION = 0.015  # of a replicate's pooled change of the debiased ECE, for the expected power; a guess
ACCURACY, ECE, LOG_ODDS, TWINS = 0.02, 0.02, 0.2, 0.10  # smallest effects of interest


@dataclass(frozen=True)
class Evidence:
    """The results of one study at one scale, of one backbone.

    Attributes
    ----------
    runs
        Tidy, a row for each run, controls included.
    backbones
        A row for each compression and source checkpoint: upstream accuracy.
    test_pictures, classes
        By target: how many there are, and their names.
    source_classes
        Their names.
    """

    runs: pd.DataFrame
    backbones: pd.DataFrame
    test_pictures: dict[str, int]
    classes: dict[str, list[str]]
    source_classes: list[str]

    @property
    def sparsest(self) -> str | None:
        rounds = [c for c in map(parse, self.runs["compression"].unique()) if c.family == "imp"]
        return max(rounds, key=lambda c: c.sparsity).name if rounds else None

    def has(self, *names: str) -> list[str]:
        return [name for name in names if name in set(self.runs["compression"])]

    def changes(self, metric: str, compression: str, method: str = "visual_prompting") -> pd.DataFrame:
        """The paired changes of the runs that finished: source_seed, seed, target, budget, value."""
        runs = self.runs[self.runs["method"] == method]
        runs = runs[runs["compression"].isin(["dense", compression])]
        changes = against_dense(runs, metric)
        changes = changes[changes["status"] == "ok"]
        return changes.rename(columns={"difference": "value"})[["source_seed", "seed", "target", "budget", "value"]]


@dataclass(frozen=True)
class Finding:
    """An effect, in all and target by target, with what it was measured on."""

    label: str
    effect: Effect
    targets: dict[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes
    ----------
    measure
        The primary findings, all of which must hold; none where the scale lacks what it takes.
    beside
        Findings that are shown with it and decide nothing.
    any_target
        It says that *some* targets show the effect, so each is tested and one is enough.
    """

    id: str
    statement: str
    published: str
    estimand: str
    test: Test
    unit: str
    measure: Callable[[Evidence], list[Finding]]
    beside: Callable[[Evidence], list[Finding]] = lambda _: []
    any_target: bool = False


def replicates(values: pd.DataFrame) -> np.ndarray:
    """One value a replicate: a seed (means over targets), or a source checkpoint where there are several."""
    of_targets = values.groupby(["source_seed", "seed", "target"])["value"].mean()
    of_seeds = of_targets.groupby(["source_seed", "seed"]).mean()
    of_sources = of_seeds.groupby("source_seed").mean()
    return (of_sources if len(of_sources) > 1 else of_seeds).to_numpy()


def finding(label: str, values: pd.DataFrame, pooled: Iterable[str] | None = None) -> Finding:
    """The effect over `pooled` targets (all, if not given), and that of each target."""
    targets = list(dict.fromkeys(values["target"]))
    inside = values[values["target"].isin(targets if pooled is None else list(pooled))]
    of_target = {target: Effect.of(replicates(values[values["target"] == target])) for target in targets}
    return Finding(label, Effect.of(replicates(inside)), of_target)


def log_odds(accuracy: pd.Series, classes: pd.Series, pictures: pd.Series) -> pd.Series:
    """log p / (1 − p) of the share p of what lies between chance and 1, kept half a picture away from 0 and from 1."""
    share = (accuracy.astype(float) - 1 / classes) / (1 - 1 / classes)
    edge = 0.5 / pictures
    share = share.clip(edge, 1 - edge)
    return np.log(share / (1 - share))


def _change(metric: str, method: str = "visual_prompting"):
    def of(evidence: Evidence, compression: str) -> Finding:
        values = evidence.changes(metric, compression, method)
        calibration = metric != "accuracy"
        large = [t for t in values["target"].unique() if evidence.test_pictures[t] >= SMALL_TEST or not calibration]
        return finding(compression, values, large or None)

    return of


def _on(of: Callable[[Evidence, str], Finding], names: Callable[[Evidence], list[str]]):
    return lambda evidence: [of(evidence, name) for name in names(evidence)]


def _sparsest(evidence: Evidence) -> list[str]:
    return [evidence.sparsest] if evidence.sparsest else []


def _others(evidence: Evidence) -> list[str]:
    return [n for n in dict.fromkeys(evidence.runs["compression"]) if n not in ("dense", evidence.sparsest)]


def _quantized(evidence: Evidence) -> list[str]:
    return evidence.has("w4a4", "w3a3")


def _quantized_beside(evidence: Evidence) -> list[str]:
    return [n for n in _others(evidence) if parse(n).bits and n not in ("w4a4", "w3a3")]


def _interaction(method: str):
    def of(evidence: Evidence, compression: str) -> Finding:
        values = evidence.changes("accuracy", compression, method)
        order = sorted(values["budget"].unique(), key=lambda b: float("inf") if b == "all" else int(b))
        keys = ["source_seed", "seed", "target"]
        small, large = (values[values["budget"] == b].set_index(keys)["value"] for b in (order[0], order[-1]))
        label = f"{compression}, {order[0]} against {order[-1]} a class"
        return finding(label, (small - large).dropna().reset_index())

    return of


def _interactions(method: str):
    def measure(evidence: Evidence) -> list[Finding]:
        runs = evidence.runs[evidence.runs["method"] == method]
        runs = runs[runs["compression"] == evidence.sparsest]
        return [_interaction(method)(evidence, evidence.sparsest)] if runs["budget"].nunique() > 1 else []

    return measure


def _against_probe(metric: str):
    def of(evidence: Evidence, compression: str) -> Finding:
        keys = ["source_seed", "seed", "target", "budget"]
        if metric == "log_odds":
            counts = {target: len(names) for target, names in evidence.classes.items()}
            runs = evidence.runs
            odds = log_odds(runs["accuracy"], runs["target"].map(counts), runs["target"].map(evidence.test_pictures))
            evidence = Evidence(
                runs.assign(log_odds=odds),
                evidence.backbones,
                evidence.test_pictures,
                evidence.classes,
                evidence.source_classes,
            )
        prompt, probe = (
            evidence.changes(metric, compression, method).set_index(keys)["value"]
            for method in ("visual_prompting", "linear_probe")
        )
        return finding(f"{compression}, {metric.replace('_', '-')}", (prompt - probe).dropna().reset_index())

    return of


def _equal_upstream(evidence: Evidence) -> list[str]:
    """The sparsest round whose upstream accuracy is about that of dense, from the same source checkpoints."""
    accuracy = evidence.backbones.groupby("compression")["upstream_accuracy"].mean()
    rounds = [c for c in map(parse, accuracy.index) if c.family == "imp"]
    equal = [c for c in rounds if abs(accuracy[c.name] - accuracy["dense"]) <= EQUAL_UPSTREAM]
    return [max(equal, key=lambda c: c.sparsity).name] if equal else []


def _twins(evidence: Evidence, compression: str) -> Finding:
    runs = evidence.runs[
        (evidence.runs["method"] == "visual_prompting")
        & evidence.runs["target"].isin(list(twins.TWINS))
        & (evidence.runs["status"] == "ok")
    ]
    shares = [
        twins.share(target, evidence.classes[target], [evidence.source_classes[s] for s in mapping])
        for target, mapping in zip(runs["target"], runs["mapping"], strict=True)
    ]
    with_shares = Evidence(
        runs.assign(twins=shares),
        evidence.backbones,
        evidence.test_pictures,
        evidence.classes,
        evidence.source_classes,
    )
    return finding(compression, with_shares.changes("twins", compression))


def _with_twins(names: Callable[[Evidence], list[str]]):
    return lambda e: _on(_twins, names)(e) if set(e.runs["target"]) & set(twins.TWINS) else []


CLAIMS = [
    Claim(
        "H1",
        "A visual prompt is less accurate on a compressed backbone than on the dense one",
        "accuracy falls with sparsity",
        "change of VP accuracy, sparsest round of iterative pruning",
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
        _interactions("visual_prompting"),
        _interactions("fixed_epochs"),
    ),
    Claim(
        "H3",
        "Sparsity worsens the calibration of visually prompted models",
        "calibration error rises with sparsity",
        "change of the debiased ECE of VP, sparsest round of iterative pruning",
        Test("one-sided", +1, ECE),
        "debiased ECE",
        _on(_change("ece_debiased"), _sparsest),
        lambda e: _on(_change("ece_debiased"), lambda e: [n for n in _others(e) if parse(n).sparsity])(e),
    ),
    Claim(
        "H4",
        "Quantization does not worsen the calibration of visually prompted models",
        "calibration error stays",
        "change of the debiased ECE of VP, weights and activations at 4 and at 3 bits; both must hold",
        Test("equivalence", +1, ECE),
        "debiased ECE",
        _on(_change("ece_debiased"), _quantized),
        lambda e: [
            *_on(_change("ece_debiased"), _quantized_beside)(e),
            *(
                Finding(f"{f.label}, NLL (nats)", f.effect, f.targets)
                for f in _on(_change("nll"), lambda e: [*_quantized(e), *_quantized_beside(e)])(e)
            ),
        ],
    ),
    Claim(
        "H5",
        "A visual prompt suffers more from sparsity than a linear probe does",
        "the prompt's loss is larger",
        "change of VP less that of LP, in log-odds of the accuracy above chance",
        Test("one-sided", -1, LOG_ODDS),
        "log-odds",
        _on(_against_probe("log_odds"), _sparsest),
        lambda e: [
            *_on(_against_probe("accuracy"), lambda e: [*_sparsest(e), *_others(e)])(e),
            *_on(_against_probe("log_odds"), _others)(e),
        ],
    ),
    Claim(
        "H6",
        "Some targets are hurt although upstream accuracy is about equal",
        "at least one target loses",
        f"change of VP accuracy by target, sparsest round within {EQUAL_UPSTREAM} of dense upstream",
        Test("one-sided", -1, ACCURACY),
        "accuracy",
        _on(_change("accuracy"), _equal_upstream),
        _on(_change("accuracy", "linear_probe"), _equal_upstream),
        any_target=True,
    ),
    Claim(
        "H7",
        "Label mappings on sparse backbones are less semantic",
        "fewer target classes are mapped to a twin",
        "change of the share of digits mapped to a semantic twin, sparsest round of iterative pruning",
        Test("one-sided", -1, TWINS),
        "share of classes",
        _with_twins(_sparsest),
        _with_twins(_others),
    ),
]
