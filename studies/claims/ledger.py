"""The ledger: every claim of a study judged, as records that tables, the forest plot and other projects read."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studies.claims.claim import Claim, Finding
from studies.claims.verdict import LEVEL, NOT_RUN, NOT_TESTED, Effect, Test, holm
from vpstudy import atomic, paths

Record = dict[str, Any]


def path(scale: str) -> Path:
    """Where the ledger of a scale lies."""
    return paths.RESULTS / scale / "claims.json"


def judge(study: str, claims: Sequence[Claim], *evidence: Any) -> list[Record]:
    """A record for each claim, with Holm's correction within the study, over the claims that could be judged.

    Parameters
    ----------
    evidence
        What the study's claims measure, of one architecture or of several: a claim is judged on the first that has the
        cells that it takes. Its `runs` have the columns `backbone` and `source_seed`.
    """
    on = {claim.id: next((each for each in evidence if claim.measure(each)), evidence[0]) for claim in claims}
    measured = {claim.id: claim.measure(on[claim.id]) for claim in claims}
    untested = {c.id: why for c in claims if measured[c.id] and (why := c.untested(on[c.id]))}
    p = {c.id: _p(c, measured[c.id]) for c in claims if measured[c.id] and c.id not in untested}
    family = [claim.id for claim in claims if claim.id in p and not claim.by_design]
    adjusted = p | dict(zip(family, holm([p[name] for name in family]), strict=True))
    return [
        _record(study, claim, measured[claim.id], on[claim.id], p, adjusted, untested.get(claim.id)) for claim in claims
    ]


def not_run(study: str, claims: Sequence[Claim]) -> list[Record]:
    """A record for each claim of a study of which no cell has run: a scale may leave it out."""
    nothing = {"backbone": "—", "findings": [], "beside": [], "p": None, "p_holm": None, "source_checkpoints": 0}
    verdict = {"verdict": NOT_RUN, "reason": "no cell of the study has run"}
    return [_told(study, claim) | nothing | verdict for claim in claims]


def write(scale: str, records: list[Record]) -> None:
    """Write the ledger, whole or not at all; equal records give equal bytes."""
    atomic.write_text(path(scale), atomic.json_text(records))


def read(scale: str) -> list[Record]:
    """The ledger of a scale, empty where it has none."""
    return json.loads(path(scale).read_text(encoding="utf-8")) if path(scale).exists() else []


def _p(claim: Claim, findings: list[Finding]) -> float:
    """All findings must hold: the largest. Of a claim on some target, the smallest after Holm over its targets."""
    if claim.any_target:
        return max(min(_p_of_targets(claim, f)) for f in findings)
    return max(claim.test.p(f.effect) for f in findings)


def _p_of_targets(claim: Claim, finding: Finding) -> list[float]:
    return holm([claim.test.p(effect) for effect in finding.targets.values()])


def _verdict(claim: Claim, findings: list[Finding], p_holm: float) -> str:
    if claim.any_target:
        # One target is enough to reproduce it; to contradict it, each of them must be without the effect.
        each = [
            claim.test.verdict(effect, max(p_holm, p))
            for f in findings
            for effect, p in zip(f.targets.values(), _p_of_targets(claim, f), strict=True)
        ]
        return next((v for v in ("reproduced", "inconclusive") if v in each), "contradicted")
    each = _each(claim, findings, p_holm)
    return next((v for v in ("contradicted", "inconclusive") if v in each), "reproduced")


def _each(claim: Claim, findings: list[Finding], p_holm: float) -> list[str]:
    """The verdict on each finding of a claim all of whose findings must hold."""
    return [claim.test.verdict(f.effect, p_holm, LEVEL / len(findings)) for f in findings]


def _record(
    study: str,
    claim: Claim,
    findings: list[Finding],
    evidence: Any,
    p: dict[str, float],
    adjusted: dict[str, float],
    untested: str | None,
) -> Record:
    sources = evidence.runs["source_seed"].nunique()
    beside = claim.beside(evidence)
    if untested:
        findings, beside = [], [*findings, *beside]
    record = _told(study, claim) | {
        "backbone": evidence.runs["backbone"].iloc[0],
        "findings": [_finding(f, claim.test) for f in findings],
        "beside": [_finding(f, claim.test) for f in beside],
        "p": p.get(claim.id),
        "p_holm": adjusted.get(claim.id),
        "source_checkpoints": sources,
    }
    if untested:
        return record | {"verdict": NOT_TESTED, "reason": untested}
    if not findings:
        return record | {"verdict": NOT_RUN, "reason": "this scale lacks the cells that it takes"}
    if max(f.effect.n for f in findings) < 2:
        return record | {"verdict": "inconclusive", "reason": "one replicate has no interval"}
    verdict = _verdict(claim, findings, adjusted[claim.id])
    return record | {"verdict": verdict, "reason": _reason(claim, findings, adjusted[claim.id], verdict, sources)}


def _told(study: str, claim: Claim) -> Record:
    """What a record holds of the claim itself."""
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


def _reason(claim: Claim, findings: list[Finding], p_holm: float, verdict: str, sources: int) -> str:
    d = f"{claim.test.smallest:g}"
    rejected = f"p = {p_holm:.3g} after Holm"
    if claim.test.kind == "equivalence":
        words = {
            "reproduced": f"every change lies within ±{d} ({rejected})",
            "contradicted": f"a change of at most {d} is rejected",
            "inconclusive": f"the intervals do not stay within ±{d} ({rejected}), nor beyond it",
        }
    elif claim.test.kind == "non-inferiority":
        words = {
            "reproduced": f"a loss of {d} or more is rejected ({rejected})",
            "contradicted": f"a loss of at most {d} is rejected",
            "inconclusive": f"neither a loss of {d} or more ({rejected}) nor a smaller one can be rejected",
        }
    else:
        along = [claim.test.sign * f.effect.mean for f in findings]
        small = p_holm < LEVEL and min(along) < claim.test.smallest and not claim.any_target
        words = {
            "reproduced": f"in the published direction by {d} or more ({rejected})",
            "contradicted": f"an effect of {d} in the published direction is rejected",
            "inconclusive": f"in the published direction ({rejected}), but below {d}"
            if small
            else f"neither no effect ({rejected}) nor one of {d} can be rejected",
        }
    against = ""
    if verdict == "contradicted" and len(findings) > 1 and not claim.any_target:
        named = [f.label for f, each in zip(findings, _each(claim, findings, p_holm), strict=True) if each == verdict]
        against = f", in {len(named)} of {len(findings)} findings ({named[0]}{', …' if len(named) > 1 else ''})"
    missing = [f.label for f in findings if not f.effect.n]
    lacks = f"; could not be compared: {', '.join(missing)}" if missing else ""
    design = "; by the design of this study" if claim.by_design else ""
    from_one = "; from one source checkpoint" if sources == 1 else ""
    return words[verdict] + against + lacks + design + from_one


def _finding(finding: Finding, test: Test) -> Record:
    targets = {target: _effect(effect) for target, effect in finding.targets.items()}
    return {"label": finding.label, **_effect(finding.effect), "p": test.p(finding.effect), "targets": targets}


def _effect(effect: Effect) -> Record:
    values = {"effect": effect.mean, "low": effect.low, "high": effect.high}
    return {key: None if math.isnan(value) else value for key, value in values.items()} | {"n": effect.n}
