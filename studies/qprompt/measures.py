"""Measures of the qprompt claims: functions from evidence to findings."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from studies.claims.claim import Finding, finding
from studies.qprompt.evidence import GROUPS, QpromptEvidence, ends
from studies.qprompt.labels import COOP, FEWEST, QMAPLE, Arm, qat, words

Measure = Callable[[QpromptEvidence], list[Finding]]
Pair = tuple[Arm, Arm, str]  # one, other, group


def on(one: Arm, other: Arm, *groups: str) -> list[Pair]:
    return [(one, other, group) for group in groups]


def codebook(name: str, *groups: str) -> list[Pair]:
    """Pairs of QCoOp as published with another codebook."""
    return on(qat(FEWEST), ("quantizers", f"{name}-{FEWEST}"), *groups)


def differences(pairs: Iterable[Pair] | Callable[[QpromptEvidence], Iterable[Pair]], complete: bool = True) -> Measure:
    """A finding for each pair that was run; with `complete`, none unless all were."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        found = [evidence.difference(*pair) for pair in (pairs(evidence) if callable(pairs) else pairs)]
        return [] if complete and None in found else [each for each in found if each is not None]

    return measure


def on_targets_of(arms: Sequence[Arm], of: Measure) -> Measure:
    """The measure on the targets alone that have all these arms: a prompter may leave some out."""
    return lambda evidence: of(evidence.on(evidence.targets(arms)))


def beside(*pairs: Iterable[Pair] | Callable[[QpromptEvidence], Iterable[Pair]]) -> Measure:
    """Findings for every pair that was run."""
    return lambda evidence: [found for each in pairs for found in differences(each, complete=False)(evidence)]


def at_other_bits(one: Callable[[int], Arm], other: Callable[[int], Arm], *groups: str):
    """Pairs at every number of bits but the published one."""
    return lambda evidence: [p for b in evidence.bits() if b != FEWEST for p in on(one(b), other(b), *groups)]


def at_more_bits(name: str, *groups: str):
    """Pairs of QCoOp with another codebook at every number of bits but the published one."""
    return at_other_bits(qat, lambda bits: ("quantizers", f"{name}-{bits}"), *groups)


def where_refitted(names: Sequence[str], group: str) -> Measure:
    """QCoOp less other codebooks at more bits than published, as far as run; as published if none was."""
    published = differences([pair for name in names for pair in codebook(name, group)])

    def more(evidence: QpromptEvidence) -> list[Finding]:
        """All codebooks at each number of bits where all were run."""
        at = [
            [(qat(b), ("quantizers", f"{name}-{b}"), group) for name in names] for b in evidence.bits() if b != FEWEST
        ]
        return [found for pairs in at for found in differences(pairs)(evidence)]

    return lambda evidence: more(evidence) or published(evidence)


def fewest_against_more(*groups: str):
    return lambda evidence: [p for b in evidence.bits() if b != FEWEST for p in on(qat(FEWEST), qat(b), *groups)]


def last_less_first(group: str, *arms: Arm) -> Measure:
    """Change in accuracy from the start to the end of training, for each arm."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        curves = {arm: ends(evidence.curves, arm, group) for arm in arms}
        return [
            finding(f"{words(arm)}, {group}: end − start of training", of.assign(value=of["last"] - of["first"]))
            for arm, of in curves.items()
            if len(of)
        ]

    return measure


def weights(column: str, label: str, change: Callable[[pd.DataFrame], pd.Series]) -> Measure:
    """A `change` computed from the columns first and last of CoOp's weights."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        of = ends(evidence.weights, COOP, column)
        return [finding(label, of.assign(value=change(of)))] if len(of) else []

    return measure


def inverted_u(kind: str) -> Measure:
    """The middle noise level minus none and minus the highest, on new; needs three levels."""

    def pairs(evidence: QpromptEvidence) -> list[Pair]:
        arms = evidence.runs.loc[evidence.runs["prompter"] == "noise", "arm"].unique()
        levels = [arm for arm in arms if arm.startswith(f"{kind}-") and not arm.endswith("matched")]
        levels.sort(key=lambda arm: float(arm.partition("-")[2]))
        if len(levels) < 3:
            return []
        middle, highest = ("noise", levels[len(levels) // 2]), ("noise", levels[-1])
        return [*on(middle, COOP, "new"), *on(middle, highest, "new")]

    return differences(pairs)


def against(one: Arm, through: str) -> Callable[[QpromptEvidence], list[Pair]]:
    """Prompts of several blocks `through` codebooks, quantized after training and hand-written ones, each less `one`.

    Nothing where `one` was not run, and not the published number of bits, which the claim is about.
    """

    def pairs(evidence: QpromptEvidence) -> list[Pair]:
        arms = [*evidence.runs[["prompter", "arm"]].drop_duplicates().itertuples(index=False, name=None)]
        published = (through, QMAPLE[1])
        others = [arm for arm in arms if arm[0] in (one[0], through, "zero_shot") and arm not in (one, published)]
        return [pair for arm in others if one in arms for pair in on(arm, one, *GROUPS)]

    return pairs


def few_pictures(evidence: QpromptEvidence) -> list[Pair]:
    """QCoOp as published against CoOp at each number of pictures, on all classes."""
    arms = evidence.runs.loc[evidence.runs["prompter"] == "few_shot", "arm"].unique()
    shots = sorted({int(arm.partition(" of ")[2]) for arm in arms})
    return [(("few_shot", f"qat-{FEWEST} of {k}"), ("few_shot", f"full of {k}"), "all") for k in shots]


def never_refitted(evidence: QpromptEvidence) -> str | None:
    """The reason to leave a claim untested: if no run refits, adaptive clustering equals the arm without it."""
    mine = evidence.fits[evidence.fits["prompter"] == "qcoop"]
    if len(mine) and (mine.groupby(["arm", "source_seed", "target", "seed"]).size() == 1).all():
        return "the trigger never fired: no run refitted its codebook, so both arms are the same"
    return None
