"""The ledger: findings and verdict of each claim, in `data/results/<scale>/claims.json`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studies.claims.claim import Claim, Finding
from studies.claims.verdict import LEVEL, NOT_RUN, NOT_TESTED, Effect, Test, holm
from vpstudy import atomic, paths

Entry = dict[str, Any]

REASONS = {  # by kind of test and verdict; d: smallest effect of interest or margin, p: after Holm
    "equivalence": {
        "reproduced": "every change lies within ±{d} ({p})",
        "contradicted": "a change of at most {d} is rejected",
        "inconclusive": "the intervals do not stay within ±{d} ({p}), nor beyond it",
    },
    "non-inferiority": {
        "reproduced": "a loss of {d} or more is rejected ({p})",
        "contradicted": "a loss of at most {d} is rejected",
        "inconclusive": "neither a loss of {d} or more ({p}) nor a smaller one can be rejected",
    },
    "directional": {
        "reproduced": "in the published direction by {d} or more ({p})",
        "contradicted": "an effect of {d} in the published direction is rejected",
        "inconclusive": "neither no effect ({p}) nor one of {d} can be rejected",
        "too small": "in the published direction ({p}), but below {d}",
    },
}


def path(scale: str) -> Path:
    return paths.RESULTS / scale / "claims.json"


def write(scale: str, entries: list[Entry]) -> None:
    """Write the ledger atomically; equal entries give equal bytes."""
    atomic.write_text(path(scale), atomic.json_text(entries))


def read(scale: str) -> list[Entry]:
    """Read the ledger of a scale; empty if there is none."""
    return json.loads(path(scale).read_text(encoding="utf-8")) if path(scale).exists() else []


def assess(study: str, claims: Sequence[Claim], *evidence: Any) -> list[Entry]:
    """One entry per claim of a study, with Holm's correction over those that can be tested.

    `evidence` has one object per architecture, none if no cell has run; its frame `runs` has columns `backbone` and
    `source_seed`. A claim is tested on the first architecture with findings for it. `other_architectures` holds the
    tests on the others, with one correction per architecture.
    """
    if not evidence:
        nothing = {"backbone": "—", "findings": [], "beside": [], "p": None, "p_holm": None, "source_checkpoints": 0}
        nothing |= {"verdict": NOT_RUN, "reason": "no cell of the study has run", "other_architectures": []}
        return [_stated(study, claim) | nothing for claim in claims]
    first = [next((each for each in evidence if claim.measure(each)), evidence[0]) for claim in claims]
    entries = _entries(study, claims, first)
    others = [_entries(study, claims, [each] * len(claims)) for each in evidence] if len(evidence) > 1 else []
    shown = ("backbone", "findings", "p_holm", "verdict", "reason")
    for k, entry in enumerate(entries):
        entry["other_architectures"] = [
            {key: of_one[k][key] for key in shown}
            for of_one in others
            if of_one[k]["findings"] and of_one[k]["backbone"] != entry["backbone"]
        ]
    return entries


def _entries(study: str, claims: Sequence[Claim], evidence: Sequence[Any]) -> list[Entry]:
    """Entries of the claims, each on the evidence in the same position."""
    findings = {claim.id: claim.measure(on) for claim, on in zip(claims, evidence, strict=True)}
    why = {c.id: c.untested(on) for c, on in zip(claims, evidence, strict=True) if findings[c.id]}
    tested = [claim for claim in claims if findings[claim.id] and not why[claim.id]]
    p = {claim.id: claim.p(findings[claim.id]) for claim in tested}
    family = [claim.id for claim in tested if not claim.by_design]
    p_holm = p | dict(zip(family, holm([p[name] for name in family]), strict=True))
    entries = []
    for claim, on in zip(claims, evidence, strict=True):
        found, beside, untested = findings[claim.id], claim.beside(on), why.get(claim.id)
        if untested:
            found, beside = [], [*found, *beside]
        entry = _stated(study, claim) | {
            "backbone": on.runs["backbone"].iloc[0],
            "findings": [_finding(each, claim.test) for each in found],
            "beside": [_finding(each, claim.test) for each in beside],
            "p": p.get(claim.id),
            "p_holm": p_holm.get(claim.id),
            "source_checkpoints": on.runs["source_seed"].nunique(),
        }
        if untested:
            verdict, reason = NOT_TESTED, untested
        elif not found:
            verdict, reason = NOT_RUN, "this scale lacks the cells that it takes"
        elif max(each.effect.n for each in found) < 2:
            verdict, reason = "inconclusive", "one replicate has no interval"
        else:
            verdict = claim.verdict(found, p_holm[claim.id])
            reason = _reason(claim, found, p_holm[claim.id], verdict)
            reason += "; from one source checkpoint" if entry["source_checkpoints"] == 1 else ""
        entries.append(entry | {"verdict": verdict, "reason": reason})
    return entries


def _stated(study: str, claim: Claim) -> Entry:
    return {
        "id": claim.id,
        "study": study,
        "statement": claim.statement,
        "published": claim.published,
        "estimand": claim.estimand,
        "test": claim.test.kind,
        "direction": claim.test.sign,
        "smallest_effect": claim.test.smallest,
        "unit": claim.unit,
    }


def _reason(claim: Claim, findings: list[Finding], p_holm: float, verdict: str) -> str:
    test, reasons = claim.test, REASONS.get(claim.test.kind, REASONS["directional"])
    small = p_holm < LEVEL and min(test.sign * f.effect.mean for f in findings) < test.smallest
    too_small = verdict == "inconclusive" and "too small" in reasons and small and not claim.any_target
    words = reasons["too small" if too_small else verdict].format(
        d=f"{test.smallest:g}", p=f"p = {p_holm:.3g} after Holm"
    )
    if verdict == "contradicted" and len(findings) > 1 and not claim.any_target:
        each = claim.verdict_on_each(findings, p_holm)
        named = [found.label for found, of_one in zip(findings, each, strict=True) if of_one == verdict]
        words += f", in {len(named)} of {len(findings)} findings ({named[0]}{', …' if len(named) > 1 else ''})"
    if missing := [found.label for found in findings if not found.effect.n]:
        words += f"; could not be compared: {', '.join(missing)}"
    return words + ("; by the design of this study" if claim.by_design else "")


def _finding(found: Finding, test: Test) -> Entry:
    targets = {target: _effect(effect) for target, effect in found.targets.items()}
    return {"label": found.label, **_effect(found.effect), "p": test.p(found.effect), "targets": targets}


def _effect(effect: Effect) -> Entry:
    values = {"effect": effect.mean, "low": effect.low, "high": effect.high}
    return {key: None if math.isnan(value) else value for key, value in values.items()} | {"n": effect.n}
