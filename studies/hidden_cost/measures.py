"""Measures of the claims of hidden_cost: from evidence to findings, for selected compressions."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.claims.claim import ON, Finding
from studies.hidden_cost import dose
from studies.hidden_cost.evidence import ENOUGH, RUN, Evidence, control_of
from studies.hidden_cost.twins import TWINS, share
from vpstudy.compression.registry import parse

ABOVE_CHANCE = 2.0  # standard errors above chance that a dense run must be for its change in log-odds to count
EQUAL_UPSTREAM = 0.01  # upstream accuracies this close count as equal
CLOSE_UPSTREAM = 0.10  # networks further from dense upstream are left out of the fitted line

PRIMARY_BITS = ((4, 4), (3, 3)), ((4, 8), (8, 8))  # of weights and of activations, by preference
BEST_RANGES = ("lsq", "gptq", "bc", "mse", "minmax")  # of several with the same bits, the first that was run

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
    """The first pair of `PRIMARY_BITS` that was run and is admitted on enough networks, else the first that was run.

    A pair was run if its first bits were: 8 bits alone would say little.
    """
    rounded = [each for each in map(parse, found.runs["compression"].unique()) if each.bits]
    rounded.sort(key=lambda each: BEST_RANGES.index(each.ranges))
    of = {bits: next((each.name for each in rounded if (each.bits, each.activation_bits) == bits), None)
          for pair in PRIMARY_BITS for bits in pair}  # fmt: skip
    run = [[of[bits] for bits in pair if of[bits]] for pair in PRIMARY_BITS if of[pair[0]]]
    enough = min(ENOUGH, max(map(found.admitted_on, found.runs["compression"].unique())))
    return next((names for names in run if all(found.admitted_on(name) >= enough for name in names)), [*run, []][0])


def other_bits(found: Evidence) -> list[str]:
    return [name for name in others(found) if parse(name).bits and name not in quantized(found)]


def equal_upstream(found: Evidence) -> list[str]:
    """The sparsest recovered network whose mean upstream accuracy is within `EQUAL_UPSTREAM` of dense, if any."""
    accuracy = found.upstream.groupby(found.backbones["compression"]).mean()
    equal = [c for c in found.recovered if abs(accuracy[c.name] - accuracy["dense"]) <= EQUAL_UPSTREAM]
    return [max(equal, key=lambda c: c.sparsity).name] if equal else []


def change(metric: str, method: str = "visual_prompting", suffix: str = "") -> Callable[[Evidence, str], Finding]:
    def of(found: Evidence, compression: str) -> Finding:
        values = found.changes(metric, compression, method)
        large = [target for target in values["target"].unique() if target in found.large_targets]
        return found.finding(compression, values, suffix, large if large and metric != "accuracy" else None)

    return of


def by_budget(method: str) -> Callable[[Evidence], list[Finding]]:
    """The change at the smallest budget minus that at the largest, at the primary sparsity."""

    def measure(found: Evidence) -> list[Finding]:
        runs = found.runs[(found.runs["method"] == method) & (found.runs["status"] == "ok")]
        runs = runs[runs["compression"] == found.sparsest]
        if runs["budget"].nunique() < 2:
            return []
        values = found.changes("accuracy", found.sparsest, method)
        order = sorted(runs["budget"].unique(), key=lambda b: float("inf") if b == "all" else int(b))
        small, large = (values[values["budget"] == b].set_index(ON)["value"] for b in (order[0], order[-1]))
        words = f", {order[0]} against {order[-1]} a class"
        return [found.finding(found.sparsest, (small - large).dropna().reset_index(), words)]

    return measure


def added_by_prompt(found: Evidence, compression: str) -> Finding:
    """Accuracy of visual prompting minus that of its label mapping alone, on the same network."""
    values = found.differences((compression, "visual_prompting"), (compression, "mapping_only"), "accuracy")
    return found.finding(compression, values)


def with_mapping_alone(found: Evidence) -> list[str]:
    """Dense and the primary sparsity, if the mapping was run alone."""
    alone = (found.runs["method"] == "mapping_only") & (found.runs["status"] == "ok")
    names = ["dense", *sparsest(found)]
    return names if len(names) == 2 and set(names) <= set(found.runs.loc[alone, "compression"]) else []


def log_odds(accuracy: pd.Series, pictures: pd.Series) -> pd.Series:
    """Log-odds of the accuracy with half a picture added to right and to wrong answers (Jeffreys).

    Finite for any count, so nothing is clipped. Chance is not subtracted: below it such log-odds have no value.
    """
    right = accuracy.astype(float) * pictures
    return np.log((right + 0.5) / (pictures - right + 0.5))


def against_probe(metric: str) -> Callable[[Evidence, str], Finding]:
    """The change of visual prompting minus that of the linear probe.

    In log-odds, tasks (a target at a budget) are left out where dense runs of an architecture are on average not
    clearly above chance: there is nothing to lose. The gate looks at dense runs alone, so it does not depend on what
    compression does, and at their mean, so that it does not pick runs in which dense was lucky.
    """
    task = ["backbone", "target", "budget"]

    def of(found: Evidence, compression: str) -> Finding:
        kept = None
        if metric == "log_odds":
            counts = {key: (len(fact["classes"]), fact["pictures"]["test"]) for key, fact in found.facts.items()}
            keys = list(zip(found.runs["backbone"], found.runs["target"], strict=True))
            classes, pictures = (pd.Series([counts[key][k] for key in keys], found.runs.index) for k in (0, 1))
            odds = log_odds(found.runs["accuracy"], pictures)
            limit = 1 / classes + ABOVE_CHANCE * np.sqrt((1 - 1 / classes) / classes / pictures)
            above = found.runs.get("whole_accuracy", found.runs["accuracy"]) - limit
            found = replace(found, runs=found.runs.assign(log_odds=odds, above=above))
            dense = [found.of(control_of(compression), method) for method in ("visual_prompting", "linear_probe")]
            kept = pd.concat(dense).groupby([*task, "method"])["above"].mean().ge(0).groupby(task).all()
        prompt, probe = (
            found.changes(metric, compression, method).set_index(RUN)["value"]
            for method in ("visual_prompting", "linear_probe")
        )
        values, words = (prompt - probe).dropna().reset_index(), f", {metric.replace('_', '-')}"
        if kept is not None:
            inside = kept.reindex(pd.MultiIndex.from_frame(values[task]), fill_value=False).to_numpy(bool)
            if lost := int((~inside).sum()):
                words += f" ({lost} of {len(values)} runs on tasks at chance when dense)"
            values = values[inside]
        return found.finding(compression, values, words)

    return of


def at_equal_upstream(found: Evidence) -> list[Finding]:
    """The change at equal upstream accuracy, per run: the height of its line over upstream changes near zero."""
    near = dose.lines_of(found, "accuracy", "visual_prompting", "sparsity", CLOSE_UPSTREAM)["height"]
    return [dose.as_finding(f"pruned, within {CLOSE_UPSTREAM:g} upstream: height", near)] if len(near) else []


def hidden_cost(metric: str, *kinds: str, within: float = float("inf")) -> Callable[[Evidence], list[Finding]]:
    """The height of the prompt's lines at no upstream change less that of the probe's, where there are both.

    Lines take networks `within` this upstream change: a steep fall far away may tilt them.
    """

    def measure(found: Evidence) -> list[Finding]:
        found_heights = []
        for kind in kinds:
            prompt, probe = (
                dose.lines_of(found, metric, method, kind, within)["height"]
                for method in ("visual_prompting", "linear_probe")
            )
            words = f"{kind}: height of lines over upstream changes"
            words += f" within {within:g}" if np.isfinite(within) else ""
            found_heights.append(dose.as_finding(words, prompt - probe))
        return [each for each in found_heights if each.effect.n]

    return measure


def of_null_controls(metric: str) -> Callable[[Evidence], list[Finding]]:
    """What null controls change with the prompt less with the probe, each of them."""

    def measure(found: Evidence) -> list[Finding]:
        prompt, probe = (
            dose.nulls(found, metric, method).set_index([*RUN, "compression"])["value"]
            for method in ("visual_prompting", "linear_probe")
        )
        values = (prompt - probe).groupby("compression", sort=False)
        return [dose.as_finding(f"{name} (control)", of) for name, of in values]

    return measure


def of_twins(found: Evidence, compression: str) -> Finding:
    """The change of the share of target classes mapped to a twin, with evidence."""
    runs = found.runs[(found.runs["method"] == "visual_prompting") & found.runs["target"].isin(list(TWINS))]
    facts = [found.facts[key] for key in zip(runs["backbone"], runs["target"], strict=True)]
    columns = (runs[name] for name in ("target", "mapping", "evidence", "status"))
    shares = [
        share(target, of["classes"], [of["source_classes"][s] for s in mapping], counts) if status == "ok" else np.nan
        for of, target, mapping, counts, status in zip(facts, *columns, strict=True)
    ]
    return found.finding(compression, replace(found, runs=runs.assign(twins=shares)).changes("twins", compression))


def if_twins(names: Names) -> Names:
    """The compressions, if a target has twins and its mappings come with their evidence."""
    return lambda found: names(found) if set(found.runs["target"]) & set(TWINS) and "evidence" in found.runs else []
