"""The claims of arXiv 2407.10704, Q1 to Q11: estimand, test and smallest effect of interest.

Every effect is a difference between two arms paired by source checkpoint, target and seed: the same pictures, initial
prompt and order. Base and new are accuracies on the classes that a prompt learned from and on those that it never saw,
each among its own classes; H is their harmonic mean, run by run. Accuracies over epochs are measured on test pictures
and choose nothing. What the paper lacks stands beside: the hand-written prompt, quantized without training; noise of
the size that one bit's error has at the start, drawn once and kept as that error is, or anew at each step; other
codebooks; early stopping; weight decay. Estimands, directions and levels follow the paper; a first trial of the default
scale's cells had been seen when they were written, the extended scale's had not run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from studies import grid, results
from studies.claims.claim import ON, Claim, Finding, compared, finding
from studies.claims.verdict import Test
from studies.parameters import Parameters
from studies.results import Results
from studies.statistics import paired
from vpstudy.models.architectures import parse
from vpstudy.training.prompt_learning.prompters import PROMPTERS

PAPER, STAGE = "arXiv 2407.10704", "prompt"
GAIN, SAME = 0.01, 0.01  # of accuracy or H
KS, OUTLIERS, GROWTH = 0.10, 0.01, 0.10  # of a distance of distributions, of a share, of a ratio less one
ASSUMED_DEVIATION = 0.02  # of a replicate's difference in H, for the expected power; a guess
GROUPS = ("base", "new", "H")

Arm = tuple[str, str]  # prompter, arm
MAPLE, QMAPLE = ("maple", "full"), ("qmaple", "qat-4")  # the latter at the bits as published
COOP, KGCOOP, PROGRAD, COCOOP = (("coop", "full"), ("kgcoop", "full"), ("prograd", "full"), ("cocoop", "full"))
IDENTITY = ["backbone", "source_seed", "target", "prompter", "arm", "seed"]  # of a run
FEWEST = 1  # bits of QCoOp as published


def qat(bits: int) -> Arm:
    return "qcoop", f"qat-{bits}"


def ptq(bits: int) -> Arm:
    return "coop", f"ptq-{bits}"


MULTIMODAL = {  # by prompter: of its arm in full, and by what stands before "-" in the name of another
    "maple": {"full": "MaPLe", "ptq": "MaPLe, then {bits}"},
    "qmaple": {"qat": "QMaPLe, {bits}"},
}


def words(arm: Arm) -> str:
    """An arm, in words: "QCoOp, 1 bit"."""
    prompter, name = arm
    if prompter == "few_shot":
        name, _, shots = name.partition(" of ")
        return f"{words(('coop' if name == 'full' else 'qcoop', name))}, {shots} a class"
    labels = MULTIMODAL.get(prompter) or {"full": PROMPTERS[prompter].label} | PROMPTERS[prompter].arm_labels
    kind, _, level = name.partition("-")
    label = labels.get(name) or labels.get(kind, name)
    return label.format(level=level, bits=f"{level} bit" + ("s" if level != "1" else ""))


@dataclass(frozen=True)
class QpromptEvidence:
    """The results of the qprompt study at one scale, of one backbone.

    Attributes
    ----------
    runs
        A row for each (prompter, arm, seed, group), the group "H" with the harmonic mean as its accuracy included.
    curves, weights
        A row for each (prompter, arm, seed, epoch): accuracy on base and new; sigma, ks, beyond_3, kurtosis, kl.
    fits
        How often the codebook of an arm was fitted, the first time included: the most of all its runs.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame
    weights: pd.DataFrame
    fits: dict[Arm, int] = field(default_factory=dict)

    def of(self, arm: Arm, group: str) -> pd.DataFrame:
        runs = self.runs
        return runs[(runs["prompter"] == arm[0]) & (runs["arm"] == arm[1]) & (runs["group"] == group)]

    def bits(self) -> list[int]:
        """Of QCoOp's arms."""
        mine = self.runs[self.runs["prompter"] == "qcoop"]
        return sorted({int(bits) for bits in mine["bits"].dropna()})


def evidence(parameters: Parameters, read: Results) -> dict[str, QpromptEvidence]:
    """By architecture, with few-shot learning and the prompts for both towers."""
    protocols, multimodal = (results.read(grid.cells(parameters, stage)).frame for stage in ("protocol", "multimodal"))
    found = [frame for frame in (read.frame, few_shot(protocols), multimodal) if len(frame)]
    return gathered(pd.concat(found) if found else read.frame, read.contents)


def gathered(runs: pd.DataFrame, records: dict[Any, dict[str, Any]]) -> dict[str, QpromptEvidence]:
    """Evidence by architecture, from the tidy frame of results and the records behind it.

    A CLIP that MaPLe learns for, too, has its hand-written prompt in both kinds of cells: the first is kept.
    """
    runs = runs.drop_duplicates([*IDENTITY, "group"])
    frames = {name: _facts(records, name) for name in ("curves", "weights")}
    found = {}
    for backbone, mine in with_harmonic_mean(runs).groupby("backbone", sort=False):
        facts = {name: frame[frame["backbone"] == backbone] for name, frame in frames.items()}
        found[backbone] = QpromptEvidence(mine, **facts, fits=_fits(records, backbone))
    return found


def with_harmonic_mean(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` and, for each run that has base and new, a row of the group "H"."""
    base, new = (runs[runs["group"] == group] for group in ("base", "new"))
    both = base.merge(new[[*IDENTITY, "accuracy", "status"]], on=IDENTITY, suffixes=("", "_new"))
    b, n = both["accuracy"].astype(float), both["accuracy_new"].astype(float)
    ok = (both["status"] == "ok") & (both["status_new"] == "ok")
    mean = (2 * b * n / (b + n).where(b + n > 0, 1.0)).where(ok)
    metrics = ["accuracy", "status", "group"]
    harmonic = both.drop(columns=["accuracy_new", "status_new", *metrics]).assign(
        accuracy=mean, status=ok.map({True: "ok", False: "diverged"}), group="H"
    )
    return pd.concat([runs, harmonic[[c for c in runs.columns if c in harmonic]]], ignore_index=True)


def _facts(records: dict[Any, dict[str, Any]], name: str) -> pd.DataFrame:
    rows = []
    for record in records.values():
        cell = record["cell"]
        backbone, source = parse(cell["backbone"])
        for arm, seeds in record["facts"].get(name, {}).items():
            for seed, entries in seeds.items():
                at = {"backbone": backbone, "source_seed": source, "target": cell["target"]}
                at |= {"prompter": cell["prompter"], "arm": arm, "seed": int(seed)}
                rows += [at | entry for entry in entries]
    return pd.DataFrame(rows, columns=None if rows else ["backbone", "prompter", "arm", *ON, "epoch"])


def _fits(records: dict[Any, dict[str, Any]], backbone: str) -> dict[Arm, int]:
    found: dict[Arm, int] = {}
    for record in records.values():
        if parse(record["cell"]["backbone"])[0] == backbone:
            for arm, seeds in record["facts"].get("refits", {}).items():
                key = (record["cell"]["prompter"], arm)
                found[key] = max([found.get(key, 0), *map(len, seeds.values())])
    return found


def _never_fitted_anew(evidence: QpromptEvidence) -> str | None:
    """Adaptive clustering that never fits its codebook anew *is* the arm that it is compared with."""
    if evidence.fits.get(qat(FEWEST)) == 1:
        return f"the trigger never fired: at {FEWEST} bit no run fitted its codebook anew, so both arms are the same"
    return None


def difference(evidence: QpromptEvidence, one: Arm, other: Arm, group: str, metric: str = "accuracy") -> Finding | None:
    """`one` less `other` on base, new or H; None where either was not run."""
    pairs = paired(evidence.of(one, group), evidence.of(other, group), ON, metric)
    if pairs.empty:
        return None
    left = pairs[pairs["status"] == "ok"]
    return compared(f"{words(one)} − {words(other)}, {group}", left, len(pairs), "diverged")


def farther(evidence: QpromptEvidence, one: Arm, other: Arm) -> Finding | None:
    """How much farther the used prompt of `one` ends from its start than that of `other`.

    Root mean squares, in deviations of the initial prompt; None where either was not run, or is no prompt of its own.
    """
    runs = [evidence.of(arm, "base") for arm in (one, other)]
    if any("distance" not in of or of["distance"].isna().all() for of in runs):
        return None
    return difference(evidence, one, other, "base", "distance")


def growth(evidence: QpromptEvidence, arm: Arm) -> float | None:
    """The deviation of an arm's weights at the end of training over that at its start, the mean of its runs."""
    table = evidence.weights
    mine = table[(table["prompter"] == arm[0]) & (table["arm"] == arm[1])] if len(table) else table
    if mine.empty:
        return None
    sigma = mine.sort_values("epoch").groupby(ON)["sigma"].agg(["first", "last"])
    return float((sigma["last"] / sigma["first"]).mean())


def _all(pairs: Sequence[tuple[Arm, Arm, str]], complete: bool = True) -> Callable[[QpromptEvidence], list[Finding]]:
    """A finding for each (one, other, group); with `complete`, none if one of them was not run."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        found = [difference(evidence, *pair) for pair in pairs]
        return [] if complete and None in found else [each for each in found if each is not None]

    return measure


def _last_less_first(evidence: QpromptEvidence, group: str, arm: Arm = COOP) -> list[Finding]:
    """The change of accuracy from the start of training to its end."""
    curves = evidence.curves
    mine = curves[(curves["prompter"] == arm[0]) & (curves["arm"] == arm[1])].sort_values("epoch")
    if mine.empty:
        return []
    ends = mine.groupby(ON)[group].agg(["first", "last"]).reset_index()
    values = ends.assign(value=ends["last"] - ends["first"])
    return [finding(f"{words(arm)}, {group}: end − start of training", values[[*ON, "value"]])]


def _levels(evidence: QpromptEvidence, kind: str) -> list[str]:
    """Names of the arms of noise at the levels that were chosen, from low to high."""
    arms = evidence.runs.loc[evidence.runs["prompter"] == "noise", "arm"].unique()
    levels = {arm: arm.partition("-")[2] for arm in arms if arm.startswith(f"{kind}-")}
    return sorted((arm for arm, level in levels.items() if level != "matched"), key=lambda arm: float(levels[arm]))


def _inside(kind: str) -> Callable[[QpromptEvidence], list[Finding]]:
    """The middle level of noise less none and less the highest, on new."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        arms = _levels(evidence, kind)
        if len(arms) < 3:
            return []
        middle, highest = ("noise", arms[len(arms) // 2]), ("noise", arms[-1])
        return _all([(middle, COOP, "new"), (middle, highest, "new")])(evidence)

    return measure


def _weights(column: str, label: str, change: Callable[[pd.DataFrame], pd.Series]) -> Callable:
    def measure(evidence: QpromptEvidence) -> list[Finding]:
        table = evidence.weights
        mine = table[(table["prompter"] == COOP[0]) & (table["arm"] == COOP[1])] if len(table) else table
        if mine.empty:
            return []
        values = mine.sort_values("epoch").groupby(ON)[column].agg(["first", "last"]).reset_index()
        return [finding(label, values.assign(value=change(values))[[*ON, "value"]])]

    return measure


def _more_bits(evidence: QpromptEvidence) -> list[Finding]:
    return _all([(qat(FEWEST), qat(bits), "H") for bits in evidence.bits() if bits != FEWEST])(evidence)


def _of_bits(one: Callable[[int], Arm], other: Callable[[int], Arm], groups: Sequence[str]) -> Callable:
    """The same comparison at every other number of bits, to stand beside."""

    def measure(evidence: QpromptEvidence) -> list[Finding]:
        pairs = [(one(b), other(b), g) for b in evidence.bits() if b != FEWEST for g in groups]
        return _all(pairs, complete=False)(evidence)

    return measure


def _against_maple(evidence: QpromptEvidence) -> list[Finding]:
    """QMaPLe at other bits, MaPLe quantized after training, and the hand-written prompt, less MaPLe."""
    arms = evidence.runs[["prompter", "arm"]].drop_duplicates().itertuples(index=False, name=None)
    others = [arm for arm in arms if arm[0] in ("maple", "qmaple", "zero_shot") and arm not in (MAPLE, QMAPLE)]
    return _all([(arm, MAPLE, group) for arm in others for group in GROUPS])(evidence)


def few_shot(protocols: pd.DataFrame) -> pd.DataFrame:
    """Of the results of the stage `protocol`, those by few pictures, each number of them as an arm: "qat-1 of 4"."""
    if protocols.empty:
        return protocols
    mine = protocols[(protocols["protocol"] == "few_shot") & (protocols["budget"] != "0")]
    return mine.assign(prompter="few_shot", arm=mine["arm"] + " of " + mine["budget"])


def _few_shot(evidence: QpromptEvidence) -> list[Finding]:
    arms = evidence.runs.loc[evidence.runs["prompter"] == "few_shot", "arm"].unique()
    shots = sorted({int(arm.partition(" of ")[2]) for arm in arms})
    pairs = [(f"qat-{FEWEST} of {k}", f"full of {k}") for k in shots]
    return _all([(("few_shot", one), ("few_shot", other), "all") for one, other in pairs])(evidence)


CONTROLS: tuple[Arm, ...] = (  # of the question why few bits should help
    ("zero_shot", "one"),
    ("zero_shot", "templates"),
    ("zero_shot", f"hand-{FEWEST}"),
    ("noise", "fixed-matched"),
    ("noise", "fresh-matched"),
    ("quantizers", f"random-{FEWEST}"),
    ("quantizers", f"uniform-{FEWEST}"),
    ("regularised", "early"),
    ("regularised", "decay"),
    KGCOOP,
)
UP, DOWN = Test("one-sided", 1, GAIN), Test("one-sided", -1, GAIN)


def _codebook(name: str, groups: Sequence[str] = ("new",)) -> list[tuple[Arm, Arm, str]]:
    return [(qat(FEWEST), ("quantizers", f"{name}-{FEWEST}"), group) for group in groups]


def _refit(kind: str) -> Callable[[int], Arm]:
    return lambda bits: ("quantizers", f"{kind}-{bits}")


def _claim(
    id: str, statement: str, published: str, estimand: str, test: Test, measure, beside=None, unit="accuracy", **more
):
    return Claim(id, statement, published, estimand, test, unit, measure, beside or (lambda _: []), **more)


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "Q1a",
        "Without regularisation, accuracy on base classes rises over training",
        "rises to the end",
        "accuracy of CoOp on base at the end of training less that at its start",
        UP,
        lambda e: _last_less_first(e, "base"),
    ),
    _claim(
        "Q1b",
        "Without regularisation, accuracy on new classes falls over training",
        "falls to the end",
        "accuracy of CoOp on new at the end of training less that at its start",
        DOWN,
        lambda e: _last_less_first(e, "new"),
        lambda e: [f for arm in (qat(FEWEST), KGCOOP, PROGRAD, COCOOP) for f in _last_less_first(e, "new", arm)],
    ),
    _claim(
        "Q2",
        "Accuracy on new against noise is an inverted U",
        "0.01 above 0, 0.001 and 0.1, in weights; about half of the initial deviation",
        "accuracy on new with the middle level of fresh noise less that without, and less that with the highest; both",
        UP,
        _inside("fresh"),
        _inside("fixed"),
    ),
    _claim(
        "Q3a",
        "The distribution of standardised weights is stable over training",
        "histograms hardly change",
        "Kolmogorov–Smirnov distance of CoOp's standardised weights at the end to those at the start",
        Test("equivalence", 1, KS),
        _weights("ks", "end of training, distance to the start", lambda v: v["last"]),
        unit="KS distance",
    ),
    _claim(
        "Q3b",
        "The deviation of the weights grows over training",
        "grows fast early",
        "deviation of CoOp's weights at the end over that at the start, less one",
        Test("one-sided", 1, GROWTH),
        _weights("sigma", "end over start, less one", lambda v: v["last"] / v["first"] - 1),
        unit="deviation",
    ),
    _claim(
        "Q3c",
        "Prompt weights have few outliers",
        "almost none",
        "share of CoOp's weights beyond three deviations at the end of training",
        Test("equivalence", 1, OUTLIERS),
        _weights("beyond_3", "end of training, share beyond 3 σ", lambda v: v["last"]),
        unit="share",
    ),
    _claim(
        "Q4a",
        "Quantization-aware training beats quantization after training on new and on H",
        "+3.85 on new, +1.58 on H",
        "at one bit: QCoOp less CoOp quantized after training, on new and on H; both must hold",
        UP,
        _all([(qat(FEWEST), ptq(FEWEST), group) for group in ("new", "H")]),
        _of_bits(qat, ptq, ("new", "H")),
    ),
    _claim(
        "Q4b",
        "Quantization after training beats quantization-aware training on base",
        "+1.49",
        "at one bit: CoOp quantized after training less QCoOp, on base",
        UP,
        _all([(ptq(FEWEST), qat(FEWEST), "base")]),
        _of_bits(ptq, qat, ("base",)),
    ),
    _claim(
        "Q5",
        "Standardising before clustering helps new",
        "+0.54",
        "at one bit: QCoOp less that without standardising, on new",
        UP,
        _all(_codebook("raw")),
        _all([*_codebook("raw", ("base", "H")), *_codebook("uniform", GROUPS), *_codebook("random", GROUPS)], False),
    ),
    _claim(
        "Q6a",
        "Adaptive clustering helps new: never and always fitting anew are worse",
        "+0.93 over never",
        "at one bit: QCoOp less that which never fits its codebook anew, and less that which always does, on new; both",
        UP,
        _all([*_codebook("never"), *_codebook("always")]),
        lambda e: [
            *_all([*_codebook("never", ("H",)), *_codebook("always", ("base", "H"))], False)(e),
            *_of_bits(qat, _refit("never"), GROUPS)(e),
            *_of_bits(qat, _refit("always"), GROUPS)(e),
        ],
        untested=_never_fitted_anew,
    ),
    _claim(
        "Q6b",
        "Adaptive clustering costs base",
        "−0.60 against never",
        "at one bit: QCoOp less that which never fits its codebook anew, on base",
        DOWN,
        _all(_codebook("never", ("base",))),
        _of_bits(qat, _refit("never"), ("base",)),
        untested=_never_fitted_anew,
    ),
    _claim(
        "Q7",
        "More bits do not help H",
        "75.92, 75.91, 75.76 at 1, 2, 4 bits",
        "H of QCoOp at one bit less that at each other number of bits; all must hold",
        Test("non-inferiority", 1, SAME),
        _more_bits,
        lambda e: _all([(qat(FEWEST), qat(b), g) for b in e.bits() if b != FEWEST for g in ("base", "new")], False)(e),
    ),
    _claim(
        "Q8a",
        "QCoOp beats CoOp on new and on H",
        "+11.22 on new, +5.77 on H",
        "QCoOp at one bit less CoOp, on new and on H; both must hold",
        UP,
        _all([(qat(FEWEST), COOP, group) for group in ("new", "H")]),
        lambda e: _all([(qat(FEWEST), control, group) for control in CONTROLS for group in ("new", "H")], False)(e),
    ),
    _claim(
        "Q8b",
        "QCoOp loses to CoOp on base",
        "−2.01",
        "QCoOp at one bit less CoOp, on base",
        DOWN,
        _all([(qat(FEWEST), COOP, "base")]),
        lambda e: _all([(qat(FEWEST), control, "base") for control in CONTROLS], False)(e),
    ),
    _claim(
        "Q9",
        "QMaPLe beats MaPLe on base, new and H, at a quarter of its size",
        "+0.74, +0.43, +0.57",
        "QMaPLe at four bits less MaPLe, on base, new and H; all must hold",
        UP,
        _all([(QMAPLE, MAPLE, group) for group in GROUPS]),
        _against_maple,
    ),
    _claim(
        "Q10",
        "QCoOp beats ProGrad and CoCoOp on H, at a small part of their size",
        "+2.43 over ProGrad, +1.60 over CoCoOp; 1/63 and 1/272 of the bytes",
        "H of QCoOp at one bit less that of ProGrad and that of CoCoOp; both must hold",
        UP,
        _all([(qat(FEWEST), PROGRAD, "H"), (qat(FEWEST), COCOOP, "H")]),
        _all([(qat(FEWEST), KGCOOP, "H")], False),
    ),
    _claim(
        "Q11",
        "QCoOp beats CoOp with few pictures, at every number of them",
        "at 1 to 16 pictures a class",
        "accuracy over all classes of QCoOp less that of CoOp, at each number of pictures; all must hold",
        UP,
        _few_shot,
    ),
)
