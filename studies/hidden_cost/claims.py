"""The claims of arXiv 2308.14969, H1 to H7: estimand, test and smallest effect of interest, set before any run.

Targets with fewer than 300 test pictures are shown but stay out of pooled calibration. The primary sparsity is the
largest of iterative pruning; of backbones from elsewhere, which have no early step to rewind to, the largest of
one-shot pruning with recovery by distillation, and for their accuracy upstream stands agreement with dense. The primary
quantization is that of the paper, weights and activations at 4 and 3 bits, trained with quantization; where that was
not run, quantized after training. Every claim is judged on the first architecture; what the others say stands beside
it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.claims.claim import Claim, Evidence, Finding, finding
from studies.claims.verdict import Test
from studies.hidden_cost import twins
from vpstudy.compression.names import parse

SMALL_TEST = 300  # test pictures below which a target stays out of pooled calibration
EQUAL_UPSTREAM = 0.01  # upstream accuracies this close count as equal
ASSUMED_DEVIATION = 0.015  # of a replicate's pooled change of the debiased ECE, for the expected power; a guess
ACCURACY, ECE, LOG_ODDS, TWINS = 0.02, 0.02, 0.2, 0.10  # smallest effects of interest
CLOSE_UPSTREAM = 0.10  # losses upstream up to which they are taken for a line's covariate
RUN = ["source_seed", "seed", "target", "budget"]  # what identifies a run of one method and compression


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
    def measure(evidence: Evidence) -> list[Finding]:
        finished = evidence.runs[evidence.runs["status"] == "ok"]
        some = set(finished.loc[finished["method"] == "visual_prompting", "compression"])
        return [of(evidence, name) for name in names(evidence) if name in some]  # else every run of it diverged

    return measure


def _sparsest(evidence: Evidence) -> list[str]:
    return [evidence.sparsest] if evidence.sparsest else []


def _others(evidence: Evidence) -> list[str]:
    return [n for n in dict.fromkeys(evidence.runs["compression"]) if n not in ("dense", evidence.sparsest)]


def _quantized(evidence: Evidence) -> list[str]:
    """The paper's are trained with quantization; where that was not run, those quantized after training."""
    return evidence.has("w4a4-lsq", "w3a3-lsq") or evidence.has("w4a4", "w3a3")


def _quantized_beside(evidence: Evidence) -> list[str]:
    return [n for n in _others(evidence) if parse(n).bits and n not in _quantized(evidence)]


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
        runs = evidence.runs[(evidence.runs["method"] == method) & (evidence.runs["status"] == "ok")]
        runs = runs[runs["compression"] == evidence.sparsest]
        return [_interaction(method)(evidence, evidence.sparsest)] if runs["budget"].nunique() > 1 else []

    return measure


def _against_probe(metric: str):
    def of(evidence: Evidence, compression: str) -> Finding:
        if metric == "log_odds":
            counts = {target: len(names) for target, names in evidence.classes.items()}
            runs = evidence.runs
            odds = log_odds(runs["accuracy"], runs["target"].map(counts), runs["target"].map(evidence.test_pictures))
            evidence = replace(evidence, runs=runs.assign(log_odds=odds))
        prompt, probe = (
            evidence.changes(metric, compression, method).set_index(RUN)["value"]
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


def _at_equal_upstream(evidence: Evidence) -> list[Finding]:
    """The change of VP accuracy that a line through all pruned networks gives at an unchanged upstream accuracy.

    The line is fitted, for each run, to the pruned networks that lose at most `CLOSE_UPSTREAM` upstream: upstream
    accuracy is the covariate, and the intercept is the loss that it does not explain.
    """
    upstream = evidence.backbones.set_index(["source_seed", "compression"])["upstream_accuracy"]
    points = []
    for name in (n for n in dict.fromkeys(evidence.runs["compression"]) if parse(n).sparsity):
        changes = evidence.changes("accuracy", name)
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


def _twins(evidence: Evidence, compression: str) -> Finding:
    runs = evidence.runs[
        (evidence.runs["method"] == "visual_prompting") & evidence.runs["target"].isin(list(twins.TWINS))
    ]
    shares = [
        twins.share(target, evidence.classes[target], [evidence.source_classes[s] for s in mapping])
        if status == "ok"
        else np.nan
        for target, mapping, status in zip(runs["target"], runs["mapping"], runs["status"], strict=True)
    ]
    with_shares = replace(evidence, runs=runs.assign(twins=shares))
    return finding(compression, with_shares.changes("twins", compression))


def _with_twins(names: Callable[[Evidence], list[str]]):
    return lambda e: _on(_twins, names)(e) if set(e.runs["target"]) & set(twins.TWINS) else []


CLAIMS = [
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
        _interactions("visual_prompting"),
        _interactions("fixed_epochs"),
    ),
    Claim(
        "H3",
        "Sparsity worsens the calibration of visually prompted models",
        "calibration error rises with sparsity",
        "change of the debiased ECE of VP, sparsest primary network",
        Test("one-sided", +1, ECE),
        "debiased ECE",
        _on(_change("ece_debiased"), _sparsest),
        lambda e: _on(_change("ece_debiased"), lambda e: [n for n in _others(e) if parse(n).sparsity])(e),
    ),
    Claim(
        "H4",
        "Quantization does not worsen the calibration of visually prompted models",
        "calibration error stays",
        "change of the debiased ECE of VP, weights and activations at 4 and 3 bits (LSQ where run); all must hold",
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
        lambda e: [*_at_equal_upstream(e), *_on(_change("accuracy", "linear_probe"), _equal_upstream)(e)],
        any_target=True,
    ),
    Claim(
        "H7",
        "Label mappings on sparse backbones are less semantic",
        "fewer target classes are mapped to a twin",
        "change of the share of digits mapped to a semantic twin, sparsest primary network",
        Test("one-sided", -1, TWINS),
        "share of classes",
        _with_twins(_sparsest),
        _with_twins(_others),
    ),
]
