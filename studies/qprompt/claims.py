"""Claims Q1 to Q11 of arXiv 2407.10704: estimand, test and smallest effect of interest.

Effects are differences between two arms paired by source checkpoint, target and seed: same pictures, initial prompt and
order. Base and new are accuracies on learned and on unseen classes, each among its own; H is their harmonic mean per
run. Accuracies over epochs use test pictures and choose nothing. We add controls that the paper lacks: the hand-written
prompt, quantized without training; noise as large as the one-bit error at the start, fixed as that error is or fresh at
each step; other codebooks; early stopping; weight decay. Estimands, directions and levels follow the paper.
"""

from functools import partial

from studies.claims import claim
from studies.claims.verdict import Test
from studies.qprompt.evidence import GROUPS, evidence  # noqa: F401 (the report of claims looks it up here)
from studies.qprompt.labels import COCOOP, COOP, DEEP, FEWEST, KGCOOP, MAPLE, PROGRAD, QDEEP, QMAPLE, Arm, ptq, qat
from studies.qprompt.measures import (
    against,
    at_more_bits,
    at_other_bits,
    beside,
    codebook,
    differences,
    few_pictures,
    fewest_against_more,
    inverted_u,
    last_less_first,
    never_refitted,
    on,
    on_targets_of,
    weights,
    where_refitted,
)

PAPER, STAGE = "arXiv 2407.10704", "prompt"
GAIN, SAME = 0.01, 0.01  # of accuracy or H
KS, OUTLIERS, GROWTH = 0.10, 0.01, 0.10  # of a distance of distributions, of a share, of a ratio less one
DEVIATIONS = {"accuracy": 0.02, "KS distance": 0.02, "deviation": 0.5, "share": 0.002}  # between networks; guesses
UP, DOWN = Test("directional", 1, GAIN), Test("directional", -1, GAIN)
ONE = qat(FEWEST)
CONTROLS: tuple[Arm, ...] = (  # other explanations of why few bits help
    ("zero_shot", "one"),
    ("zero_shot", "templates"),
    ("zero_shot", f"hand-{FEWEST}"),
    ("noise", "fixed-matched"),
    ("noise", "fresh-matched"),
    ("matched_noise", "fixed"),
    ("matched_noise", "fresh"),
    ("quantizers", f"random-{FEWEST}"),
    ("quantizers", f"uniform-{FEWEST}"),
    ("regularised", "early"),
    ("regularised", "decay"),
    KGCOOP,
)

Claim = partial(claim.Claim, later="written after a first trial of `default`")
WHERE_REFITTED = "at each number of bits above one where all were run, or at one if there is none"
LATER_REFITTED = (
    "written after a first trial of `default`; at which bits, after runs of `towers`: at one, few were refitted"
)

CLAIMS: tuple[claim.Claim, ...] = (
    Claim(
        "Q1a",
        "Without regularisation, accuracy on base classes rises over training",
        "rises to the end",
        "accuracy of CoOp on base at the end of training less that at its start",
        UP,
        "accuracy",
        last_less_first("base", COOP),
    ),
    Claim(
        "Q1b",
        "Without regularisation, accuracy on new classes falls over training",
        "falls to the end",
        "accuracy of CoOp on new at the end of training less that at its start",
        DOWN,
        "accuracy",
        last_less_first("new", COOP),
        last_less_first("new", ONE, KGCOOP, PROGRAD),
    ),
    Claim(
        "Q2",
        "Accuracy on new against noise is an inverted U",
        "0.01 above 0, 0.001 and 0.1, in weights; about half of the initial deviation",
        "accuracy on new with the middle level of fresh noise less that without, and less that with the highest; both",
        UP,
        "accuracy",
        inverted_u("fresh"),
        inverted_u("fixed"),
    ),
    Claim(
        "Q3a",
        "The distribution of standardised weights is stable over training",
        "histograms hardly change",
        "Kolmogorov–Smirnov distance of CoOp's standardised weights at the end to those at the start",
        Test("non-inferiority", -1, KS),
        "KS distance",
        weights("ks", "end of training, distance to the start", lambda v: v["last"]),
    ),
    Claim(
        "Q3b",
        "The deviation of the weights grows over training",
        "grows fast early",
        "deviation of CoOp's weights at the end over that at the start, less one",
        Test("directional", 1, GROWTH),
        "deviation",
        weights("sigma", "end over start, less one", lambda v: v["last"] / v["first"] - 1),
    ),
    Claim(
        "Q3c",
        "Prompt weights have few outliers",
        "almost none",
        "share of CoOp's weights beyond three deviations at the end of training",
        Test("non-inferiority", -1, OUTLIERS),
        "share",
        weights("beyond_3", "end of training, share beyond 3 σ", lambda v: v["last"]),
    ),
    Claim(
        "Q4a",
        "Quantization-aware training beats quantization after training on new and on H",
        "+3.85 on new, +1.58 on H",
        "at one bit: QCoOp less CoOp quantized after training, on new and on H; both must hold",
        UP,
        "accuracy",
        differences(on(ONE, ptq(FEWEST), "new", "H")),
        beside(at_other_bits(qat, ptq, "new", "H")),
        sizes=(0.0385, 0.0158),
    ),
    Claim(
        "Q4b",
        "Quantization after training beats quantization-aware training on base",
        "+1.49",
        "at one bit: CoOp quantized after training less QCoOp, on base",
        UP,
        "accuracy",
        differences(on(ptq(FEWEST), ONE, "base")),
        beside(at_other_bits(ptq, qat, "base")),
        sizes=(0.0149,),
    ),
    Claim(
        "Q5",
        "Standardising before clustering helps new",
        "+0.54",
        "at one bit: QCoOp less that without standardising, on new",
        UP,
        "accuracy",
        differences(codebook("raw", "new")),
        beside(codebook("raw", "base", "H"), codebook("uniform", *GROUPS), codebook("random", *GROUPS)),
        sizes=(0.0054,),
    ),
    Claim(
        "Q6a",
        "Adaptive clustering helps new: never and always refitting are worse",
        "+0.93 over never",
        f"{WHERE_REFITTED}: QCoOp less that which never refits its codebook, and that which always does, on new; all",
        UP,
        "accuracy",
        where_refitted(("never", "always"), "new"),
        beside(*(of(name, *GROUPS) for name in ("never", "always") for of in (codebook, at_more_bits))),
        untested=never_refitted,
        sizes=(0.0093,),
        later=LATER_REFITTED,
    ),
    Claim(
        "Q6b",
        "Adaptive clustering costs base",
        "−0.60 against never",
        f"{WHERE_REFITTED}: QCoOp less that which never refits its codebook, on base; all",
        DOWN,
        "accuracy",
        where_refitted(("never",), "base"),
        beside(codebook("never", "base"), at_more_bits("never", "base")),
        untested=never_refitted,
        sizes=(0.0060,),
        later=LATER_REFITTED,
    ),
    Claim(
        "Q7",
        "More bits do not help H",
        "75.92, 75.91, 75.76 at 1, 2, 4 bits",
        "H of QCoOp at one bit less that at each other number of bits; all must hold",
        Test("non-inferiority", 1, SAME),
        "accuracy",
        differences(fewest_against_more("H")),
        beside(fewest_against_more("base", "new")),
    ),
    Claim(
        "Q8a",
        "QCoOp beats CoOp on new and on H",
        "+11.22 on new, +5.77 on H",
        "QCoOp at one bit less CoOp, on new and on H; both must hold",
        UP,
        "accuracy",
        differences(on(ONE, COOP, "new", "H")),
        beside(*(on(ONE, control, "new", "H") for control in CONTROLS)),
        sizes=(0.1122, 0.0577),
    ),
    Claim(
        "Q8b",
        "QCoOp loses to CoOp on base",
        "−2.01",
        "QCoOp at one bit less CoOp, on base",
        DOWN,
        "accuracy",
        differences(on(ONE, COOP, "base")),
        beside(*(on(ONE, control, "base") for control in CONTROLS)),
        sizes=(0.0201,),
    ),
    Claim(
        "Q9",
        "QMaPLe beats MaPLe on base, new and H, at a quarter of its size",
        "+0.74, +0.43, +0.57",
        "QMaPLe at four bits less MaPLe, on base, new and H; all must hold",
        UP,
        "accuracy",
        differences(on(QMAPLE, MAPLE, *GROUPS)),
        beside(against(MAPLE, "qmaple")),
        sizes=(0.0074, 0.0043, 0.0057),
    ),
    Claim(
        "Q9b",
        "Deep text prompts through a codebook beat those in full precision on base, new and H",
        "of prompts in both towers: +0.74, +0.43, +0.57",
        "where pictures take no prompt, started at the words: four bits less full precision, on base, new and H; all",
        UP,
        "accuracy",
        differences(on(QDEEP, DEEP, *GROUPS)),
        beside(against(DEEP, "qdeep")),
        sizes=(0.0074, 0.0043, 0.0057),
        later="written after Q9 had no model here with prompts in both towers",
    ),
    Claim(
        "Q10",
        "QCoOp beats ProGrad and CoCoOp on H, at a small part of their size",
        "+2.43 over ProGrad, +1.60 over CoCoOp; 1/63 and 1/272 of the bytes",
        "H of QCoOp at one bit less that of ProGrad and of CoCoOp, on targets that CoCoOp was run on; both must hold",
        UP,
        "accuracy",
        on_targets_of([COCOOP], differences([*on(ONE, PROGRAD, "H"), *on(ONE, COCOOP, "H")])),
        on_targets_of([COCOOP], beside(on(ONE, KGCOOP, "H"))),
        sizes=(0.0243, 0.0160),
        later="written after a first trial of `default`; which targets count, after a run of `towers` without CoCoOp",
    ),
    Claim(
        "Q11",
        "QCoOp beats CoOp with few pictures, at every number of them",
        "at 1 to 16 pictures a class",
        "accuracy over all classes of QCoOp less that of CoOp, at each number of pictures; all must hold",
        UP,
        "accuracy",
        differences(few_pictures),
    ),
)
