"""Measures of the claims of hidden_cost: from evidence to findings, for selected compressions."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.claims.claim import Finding, finding
from studies.hidden_cost.evidence import RUN, Evidence
from studies.hidden_cost.twins import TWINS, share
from vpstudy.compression.registry import parse

SMALL_TEST = 300  # targets with fewer test pictures are left out of pooled calibration
EQUAL_UPSTREAM = 0.01  # upstream accuracies this close count as equal
CLOSE_UPSTREAM = 0.10  # networks further from dense upstream are left out of the fitted line

Names = Callable[[Evidence], list[str]]  # of compressions


def on(of: Callable[[Evidence, str], Finding], *names: Names) -> Callable[[Evidence], list[Finding]]:
    """One finding per compression that has a finished visual prompting run."""

    def measure(found: Evidence) -> list[Finding]:
        runs = found.runs[(found.runs["status"] == "ok") & (found.runs["method"] == "visual_prompting")]
        some = set(runs["compression"])
        return [of(found, name) for each in names for name in each(found) if name in some]

    return measure


def together(*measures: Callable[[Evidence], Iterable[Finding]]) -> Callable[[Evidence], list[Finding]]:
    return lambda found: [each for measure in measures for each in measure(found)]


def sparsest(found: Evidence) -> list[str]:
    return [found.sparsest] if found.sparsest else []


def others(found: Evidence) -> list[str]:
    names = list(dict.fromkeys(found.runs["compression"]))
    controls = {parse(name).control or "dense" for name in names}
    return [name for name in names if name not in {*controls, found.sparsest}]


def other_sparsities(found: Evidence) -> list[str]:
    return [name for name in others(found) if parse(name).sparsity]


def quantized(found: Evidence) -> list[str]:
    return found.has("w4a4-lsq", "w3a3-lsq") or found.has("w4a4", "w3a3")


def other_bits(found: Evidence) -> list[str]:
    return [name for name in others(found) if parse(name).bits and name not in quantized(found)]


def equal_upstream(found: Evidence) -> list[str]:
    """The sparsest IMP round whose mean upstream accuracy is within `EQUAL_UPSTREAM` of dense, if any."""
    accuracy = found.backbones.groupby("compression")["upstream_accuracy"].mean()
    rounds = [c for c in map(parse, accuracy.index) if c.family == "imp"]
    equal = [c for c in rounds if abs(accuracy[c.name] - accuracy["dense"]) <= EQUAL_UPSTREAM]
    return [max(equal, key=lambda c: c.sparsity).name] if equal else []


def change(metric: str, method: str = "visual_prompting", suffix: str = "") -> Callable[[Evidence, str], Finding]:
    def of(found: Evidence, compression: str) -> Finding:
        values = found.changes(metric, compression, method)
        large = [t for t in values["target"].unique() if found.facts[t]["pictures"]["test"] >= SMALL_TEST]
        return finding(compression + suffix, values, large if large and metric != "accuracy" else None)

    return of


def by_budget(method: str) -> Callable[[Evidence], list[Finding]]:
    """The change at the smallest budget minus that at the largest, at the primary sparsity."""

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
    """Log-odds of the accuracy above chance, scaled to [0, 1] and clipped half a picture from either end."""
    share = (accuracy.astype(float) - 1 / classes) / (1 - 1 / classes)
    edge = 0.5 / pictures
    share = share.clip(edge, 1 - edge)
    return np.log(share / (1 - share))


def against_probe(metric: str) -> Callable[[Evidence, str], Finding]:
    """The change of visual prompting minus that of the linear probe."""

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


def at_equal_upstream(found: Evidence) -> list[Finding]:
    """The change at equal upstream accuracy, per run: the intercept of a line over upstream changes."""
    upstream = found.backbones.set_index(["source_seed", "compression"])["upstream_accuracy"]
    points = []
    for name in (n for n in dict.fromkeys(found.runs["compression"]) if parse(n).sparsity):
        changes = found.changes("accuracy", name)
        sources, control = changes["source_seed"], parse(name).control or "dense"
        loss = {s: upstream.get((s, name), np.nan) - upstream.get((s, control), np.nan) for s in sources.unique()}
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


def of_twins(found: Evidence, compression: str) -> Finding:
    """The change of the share of target classes mapped to a twin, with evidence."""
    runs = found.runs[(found.runs["method"] == "visual_prompting") & found.runs["target"].isin(list(TWINS))]
    columns = (runs[name] for name in ("target", "mapping", "evidence", "status"))
    shares = [
        share(
            target, found.facts[target]["classes"], [found.facts[target]["source_classes"][s] for s in mapping], counts
        )
        if status == "ok"
        else np.nan
        for target, mapping, counts, status in zip(*columns, strict=True)
    ]
    return finding(compression, replace(found, runs=runs.assign(twins=shares)).changes("twins", compression))


def if_twins(names: Names) -> Names:
    """The compressions, if a target has twins and its mappings come with their evidence."""
    return lambda found: names(found) if set(found.runs["target"]) & set(TWINS) and "evidence" in found.runs else []
