"""The ledger: findings and verdict of each claim, in `data/results/<scale>/claims.json`."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.claims import rules
from studies.claims.claim import Claim, Finding
from studies.claims.verdict import CANNOT_TELL, COLLAPSED, EVEN, LEVEL, NOT_RUN, NOT_TESTED, ONE_NETWORK, Effect, holm
from studies.statistics import BLOCKS, has_blocks
from vpstudy import atomic, paths

Entry = dict[str, Any]
POWERS = ("power", "power_published")  # at the smallest effect of interest, and at the published one if that is larger
LACKS = "this scale lacks the cells that it takes"

REASONS = {  # by kind of test and reading; d: smallest effect of interest or margin, limit: d, signed as what is worse
    "equivalence": {
        "reproduced": "every change lies within ±{d}",
        "contradicted": "a change within ±{d} is ruled out",
        "inconclusive": "the interval is neither within ±{d} nor beyond it",
    },
    "non-inferiority": {
        "reproduced": "a change of {limit:+g} or beyond is ruled out",
        "contradicted": "a change short of {limit:+g} is ruled out",
        "inconclusive": "after correction, neither a change of {limit:+g} or beyond nor one short of it is ruled out",
    },
    "directional": {
        "reproduced": "in the published direction by {large} or more",
        "contradicted": "an effect of {d} in the published direction is ruled out",
        "inconclusive": "after correction, neither no effect nor one of {d} is ruled out",
        "too small": "in the published direction, but below {large}",
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


def again(scale: str) -> dict[str, Entry]:
    """What `vpstudy compare --save` kept of a second run of each study: "how", "verdicts" by claim, and counts."""
    kept = paths.AGAIN / f"{scale}.json"
    return json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}


def second_verdicts(scale: str) -> dict[str, str]:
    """The verdicts of second runs, by claim."""
    return {claim: verdict for of in again(scale).values() for claim, verdict in of["verdicts"].items()}


def assess(studies: Mapping[str, tuple[Sequence[Claim], Any]], beside: bool = True) -> list[Entry]:
    """One entry per claim, from the claims of each study and their evidence (None if no cell of the study has run).

    All claims that can be tested are one family: Holm's correction runs over them for the claims and, by the same rule,
    against them, so in the whole ledger a false reproduction has a probability of at most 5 %, and so has a false
    contradiction. Claims on the same runs (H1 and H6) need no other rule, as Holm's holds under any dependence. No
    claim is judged from one network: its reading there holds for that network alone.
    """
    every = [
        (study, claim if evidence is None else claim.on(evidence), evidence, measured(claim.measure, evidence))
        for study, (claims, evidence) in studies.items()
        for claim in claims
    ]
    entries, tested = [], []
    for study, claim, evidence, found in every:
        why = claim.untested(evidence) if found else None
        others = claim.beside(evidence) if beside and evidence is not None else []
        deciding, others = ([], [*found, *others]) if why else (found, others)
        entry = _stated(study, claim) | {
            "findings": [_finding(each, claim) for each in deciding],
            "beside": [_finding(each, claim) for each in others],
            "networks": min((len(f.networks) for f in deciding if f.effect.n), default=0),
            **dict.fromkeys(("p", "p_holm", "p_against", "p_against_holm", *POWERS, "reading")),
        }
        if why:
            entry |= {"verdict": NOT_TESTED, "reason": why}
        elif not found:
            reason = "its results are not all there, or no target is fit" if evidence is None else LACKS
            entry |= {"verdict": NOT_RUN, "reason": reason}
        elif (most := max(each.effect.n for each in found)) < 2 and any(each.collapsed for each in found):
            entry |= {"verdict": COLLAPSED, "reason": f"too few networks are left to compare: {_labels(found)}"}
        elif not most:
            entry |= {"verdict": NOT_TESTED, "reason": f"no runs could be compared: {_labels(found)}"}
        else:
            tested.append((entry, claim, found, *claim.p(found)))
        entries.append(entry)
    both = [holm([each[k] for each in tested]) for k in (3, 4)]
    for (entry, claim, found, *p), *corrected in zip(tested, *both, strict=True):
        reading = claim.reading(found, *corrected)
        several = entry["networks"] > 1
        sizes = claim.published_sizes(found) if min(claim.sizes, default=0) >= claim.test.smallest else []
        entry["power"] = round(claim.power(found), 4) if several else None
        entry["power_published"] = round(claim.power(found, sizes), 4) if several and sizes else None
        verdict = reading if several else ONE_NETWORK
        if verdict == "inconclusive" and highest_power(entry) < EVEN:
            verdict = CANNOT_TELL
        numbers = dict(
            zip(("p", "p_against", "p_holm", "p_against_holm"), map(_rounded, (*p, *corrected)), strict=True)
        )
        entry |= numbers | {"reading": reading, "verdict": verdict, "reason": _reason(claim, found, corrected, reading)}
        if verdict == ONE_NETWORK:
            entry["reason"] = f"in this network {reading}: {entry['reason']}"
    return entries


def highest_power(entry: Entry) -> float | None:
    """The power at the published effect or at the smallest of interest, whichever is higher; None if not known."""
    return max((entry[name] for name in POWERS if entry[name] is not None), default=None)


def _labels(found: Sequence[Finding]) -> str:
    return "; ".join(each.label for each in found)


def measured(measure: Callable[[Any], list[Finding]], evidence: Any) -> list[Finding]:
    """The findings, with intervals over test pictures where rows hold results by blocks of them."""
    found = [] if evidence is None else measure(evidence)
    if not found or not has_blocks(evidence.runs):
        return found
    left_out = [measure(evidence.without(block)) for block in range(BLOCKS)]
    return [each.with_pictures(list(same)) for each, same in zip(found, zip(*left_out, strict=True), strict=True)]


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
        "published_effects": list(claim.sizes),
        "null_controls": claim.test.nothing,
        "unit": claim.unit,
        "later_rule": claim.later,
        "rules": rules.digest(study),
    }


def _reason(claim: Claim, findings: list[Finding], corrected: Sequence[float], reading: str) -> str:
    test, d = claim.test, claim.test.smallest
    reasons = REASONS[test.kind]
    small = reading == "inconclusive" and corrected[0] < LEVEL and not claim.any_target
    words = reasons["too small" if small and "too small" in reasons else reading].format(
        d=f"{d:g}", large=f"{max(d, test.nothing):.2g}", limit=-test.sign * d
    )
    p = corrected[1] if reading == "contradicted" else corrected[0]
    words += f" (p = {p:.3g} after Holm)"
    if reading == "contradicted" and len(findings) > 1 and not claim.any_target:
        worst = min(findings, key=lambda each: test.p(each.effect)[1])
        words += f", above all by {worst.label}"
    if test.kind == "non-inferiority":
        equal = all(-d < each.effect.low and each.effect.high < d for each in findings)
        words += f"; {'' if equal else 'not '}within ±{d:g} at 95 %"
    if same := [found.label for found in findings if found.effect.error == 0]:
        words += f"; equal in all replicates, so not tested: {', '.join(same)}"
    if missing := [found.label for found in findings if not found.effect.n]:
        words += f"; could not be compared: {', '.join(missing)}"
    return words


def _finding(found: Finding, claim: Claim) -> Entry:
    parts = {
        kind: {name: _effect(effect) for name, effect in of.items()}
        for kind, of in (("targets", found.targets), ("networks", found.networks))
    }
    return {"label": found.label, **_effect(found.effect), "p": _rounded(claim.test.p(found.effect)[0]), **parts}


def _effect(effect: Effect) -> Entry:
    values = {"effect": effect.mean, "low": effect.low, "high": effect.high}
    return {key: None if math.isnan(value) else _rounded(value) for key, value in values.items()} | {"n": effect.n}


def _rounded(value: float) -> float:
    """Twelve digits: later ones differ between CPUs."""
    return round(value, 12)
