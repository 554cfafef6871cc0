"""The ledger of claims: verdicts come at their stated error rates, on results whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import null_ledgers
from pipeline.scales import parameters
from studies import results
from studies.claims import answers, forest, ledger, rules
from studies.claims.claim import Claim, Finding, replicates
from studies.claims.conclusions import findable, power_text, published_text
from studies.claims.report import STUDIES as STUDY_CLAIMS
from studies.claims.report import ClaimsReport
from studies.claims.verdict import (
    CANNOT_TELL,
    COLLAPSED,
    NOT_RUN,
    NOT_TESTED,
    ONE_NETWORK,
    READINGS,
    VERDICTS,
    Effect,
    holm,
    power,
)
from studies.claims.verdict import Test as Rule  # pytest would collect a class called Test
from studies.grid import STAGES
from studies.hidden_cost import measures, twins
from studies.hidden_cost.admission import admitted
from studies.hidden_cost.claims import CLAIMS
from studies.hidden_cost.evidence import Evidence
from studies.hidden_cost.evidence import evidence as hidden_cost_evidence
from studies.hidden_cost.settings import Admission
from studies.rows import row
from studies.statistics import BLOCKS, blocks, has_blocks
from vpstudy import paths
from vpstudy.data import glyphs
from vpstudy.data.target import load as load_target
from vpstudy.prompts.label_mapping import frequency_mapping

DIRECTIONAL, NOT_WORSE = Rule("directional", -1, 0.02), Rule("non-inferiority", -1, 0.02)
SAME = Rule("equivalence", 0, 0.02)
STUDIES = 1024
TOLERANCE = 0.01  # of a rate: spread evenly, so many studies come closer than ten times as many drawn at random
SURE = 0.995  # of tests with random studies: an error rate as stated passes them this often


def alone(rule: Rule) -> Claim:
    return Claim("X1", "", "", "", rule, "accuracy", lambda _: [])


def readings(rule: Rule, truth: float, n: int, deviation: float) -> dict[str, float]:
    """The share of each reading over simulated studies of `n` replicates, without correction.

    A reading depends on the mean and the standard error, which are independent: the mean is normal, the variance scaled
    chi-square. Studies are spread evenly over both (a Sobol sequence, moved off 0 and 1).
    """
    even = stats.qmc.Sobol(2, scramble=False).random(STUDIES) + 0.5 / STUDIES
    errors = deviation / n**0.5 * (stats.chi2.ppf(even[:, 1], n - 1) / (n - 1)) ** 0.5
    means = truth + deviation / n**0.5 * stats.norm.ppf(even[:, 0])
    found = []
    for mean, error in zip(means, errors, strict=True):
        one = [Finding("", Effect(float(mean), float(error), n - 1, n))]
        found.append(alone(rule).reading(one, *alone(rule).p(one)))
    return {reading: found.count(reading) / STUDIES for reading in READINGS}


def test_effects_and_p_values_are_those_of_the_t_test():
    values = [-0.03, -0.01, -0.04, 0.01, -0.02]
    effect = Effect.of(values)
    for side, p in (("greater", effect.p_above(0.005)), ("less", effect.p_below(0.005))):
        assert p == pytest.approx(stats.ttest_1samp(values, 0.005, alternative=side).pvalue)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert DIRECTIONAL.p(effect)[0] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert DIRECTIONAL.p(effect)[1] == pytest.approx(
        min(1, 2 * stats.ttest_1samp(values, -0.02, alternative="greater").pvalue)
    )


@pytest.mark.parametrize(
    "rule", [DIRECTIONAL, Rule("directional", 1, 0.02), NOT_WORSE, Rule("non-inferiority", 1, 0.02), SAME]
)
def test_a_single_claim_is_read_off_the_interval_shown(rule):
    """The 95 % interval decides in both directions: it leaves out zero, or d, or the margin, or it does not."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        effect = Effect.of(draw.normal(draw.uniform(-0.06, 0.06), 0.02, 4))
        low, high = (-effect.high, -effect.low) if rule.sign < 0 else (effect.low, effect.high)
        along = effect.mean * (rule.sign or 1)
        right = {
            "directional": (low > 0 and along >= 0.02, high < 0.02),
            "non-inferiority": (low > -0.02, high < -0.02),
            "equivalence": (low > -0.02 and high < 0.02, low > 0.02 or high < -0.02),
        }[rule.kind]
        p = rule.p(effect)
        assert (p[0] < 0.05 and rule.large(effect), p[1] < 0.05) == right


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_claim_errs_on_either_side_in_half_of_5_percent(n):
    assert readings(DIRECTIONAL, 0.0, n, 0.02)["reproduced"] <= 0.025 + TOLERANCE
    for rule, truth in ((DIRECTIONAL, -0.02), (NOT_WORSE, 0.02)):
        assert readings(rule, truth, n, 0.02)["contradicted"] == pytest.approx(0.025, abs=TOLERANCE)
    assert readings(NOT_WORSE, 0.02, n, 0.02)["reproduced"] == pytest.approx(0.025, abs=TOLERANCE)
    assert readings(SAME, 0.02, n, 0.01)["reproduced"] <= 0.025 + TOLERANCE
    assert readings(SAME, 0.02, n, 0.01)["contradicted"] <= 0.025 + TOLERANCE


def test_findings_share_the_level_of_a_contradiction():
    """One of two that is rejected contradicts a claim, at half the level; for it, the less favourable one counts."""
    good, bad = (Finding("", Effect.of(values)) for values in ([-0.05, -0.06, -0.055], [0.0, 0.002, 0.001]))
    claim = alone(DIRECTIONAL)
    p = claim.p([good, bad])
    assert p == (DIRECTIONAL.p(bad.effect)[0], 2 * DIRECTIONAL.p(bad.effect)[1])
    assert claim.reading([good, bad], *p) == "contradicted"
    assert claim.reading([good], *claim.p([good])) == "reproduced"


def test_a_clear_effect_is_seen_and_so_is_a_clear_absence():
    assert readings(DIRECTIONAL, -0.08, 5, 0.015)["reproduced"] > 0.95
    assert readings(DIRECTIONAL, 0.0, 5, 0.004)["contradicted"] > 0.95
    assert readings(DIRECTIONAL, +0.05, 5, 0.015)["contradicted"] > 0.95
    assert readings(SAME, 0.005, 10, 0.01)["reproduced"] > 0.8
    assert readings(SAME, -0.06, 5, 0.01)["contradicted"] > 0.95


def test_an_effect_inside_the_margin_is_not_called_reproduced():
    """Half the smallest effect of interest, measured well: significant, and yet too small to matter."""
    found = readings(DIRECTIONAL, -0.01, 10, 0.003)
    assert found["reproduced"] < 0.01 and found["contradicted"] > 0.9


def test_an_improvement_does_not_worsen():
    """As measured at a former scale: debiased ECE by −0.0705 [−0.089, −0.052]."""
    effect = Effect(-0.0705, (0.089 - 0.052) / 2 / stats.t.ppf(0.975, 4), 4, 5)
    claim, one = alone(NOT_WORSE), [Finding("", effect)]
    assert (effect.low, effect.high) == pytest.approx((-0.089, -0.052), abs=1e-4)
    assert claim.reading(one, *claim.p(one)) == "reproduced"
    assert readings(NOT_WORSE, -0.06, 5, 0.015) == {"reproduced": 1.0, "contradicted": 0.0, "inconclusive": 0.0}


@pytest.mark.parametrize(("n", "deviation"), [(3, 0.015), (5, 0.015), (5, 0.03), (12, 0.01)])
def test_power_is_that_of_simulated_studies_and_of_the_noncentral_t(n, deviation):
    error = deviation / n**0.5
    assert power(SAME, error, n - 1) == pytest.approx(readings(SAME, 0.0, n, deviation)["reproduced"], abs=TOLERANCE)
    noncentral = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, 0.02 / error)
    for rule, truth, reading in ((NOT_WORSE, 0.0, "reproduced"), (DIRECTIONAL, 0.0, "contradicted")):
        assert power(rule, error, n - 1) == pytest.approx(noncentral, abs=1e-6)
        assert power(rule, error, n - 1) == pytest.approx(readings(rule, truth, n, deviation)[reading], abs=TOLERANCE)


def test_power_at_its_limits():
    for rule in (SAME, NOT_WORSE, DIRECTIONAL):
        assert power(rule, 1e-5, 2.5) == pytest.approx(1) and power(rule, 1e-5, 200) == pytest.approx(1)
        assert power(rule, 10, 4) < 0.05
        assert power(rule, float("nan"), 4) == power(rule, 0.0, 4) == power(rule, 0.01, 0) == 0
        assert power(rule, 0.01, 4, level=0.01) < power(rule, 0.01, 4)
    one, other = (Finding("", Effect.of(values)) for values in ([-0.05, -0.06, -0.055], [-0.05, 0.05, 0.0]))
    assert alone(DIRECTIONAL).power([one, other]) == power(DIRECTIONAL, other.effect.error, 2)


def test_equal_replicates_decide_nothing():
    """A mapping that is the same in all networks, say: without spread, one picture more would be beyond any doubt."""
    same = Effect.of([-0.1] * 4)
    assert all(rule.p(same) == (1, 1) for rule in (DIRECTIONAL, NOT_WORSE, SAME))
    h8 = judged(with_mapping_alone(0.05, shaken=0.0))["H8"]
    assert h8["reading"] == "inconclusive" and "equal in all replicates, so not tested: dense" in h8["reason"]


def test_a_study_that_could_not_have_found_it_says_so():
    unsure, sure = (judged(evidence(noise=noise, sources=4), CLAIMS[3:4])["H4"] for noise in (0.2, 0.005))
    assert unsure["reading"] == "inconclusive" and unsure["power"] < 0.5 and unsure["verdict"] == CANNOT_TELL
    assert sure["verdict"] == "reproduced" and sure["power"] > 0.8
    assert findable(unsure) == "no" and findable(sure) == "yes"
    assert judged(evidence(sources=1))["H4"]["power"] is None


def of_networks(*replicates):
    effect = Effect.of(replicates)
    return Finding("", effect, networks=dict.fromkeys(map(str, range(len(replicates))), effect))


def with_sizes(found, *sizes, rule=DIRECTIONAL):
    """The entry of a claim with these published sizes on these findings."""
    claim = replace(CLAIMS[0], test=rule, measure=lambda _: found, sizes=sizes)
    return judged(evidence(sources=2), [claim])["H1"]


UNSURE, NARROW = of_networks(-0.03, 0.03, 0.0, 0.015, -0.015), of_networks(-0.03, -0.031, -0.032, -0.033)


def test_power_at_a_published_effect_that_is_larger_than_the_smallest_of_interest():
    """What a study could not see at the smallest size that matters, it may well see at the published one."""
    small, published = with_sizes([UNSURE]), with_sizes([UNSURE], 0.1)
    assert small["power"] == published["power"] < 0.5 and small["power_published"] is None
    at_that = power(replace(DIRECTIONAL, smallest=0.1), UNSURE.effect.error, 4)
    assert published["power_published"] == round(at_that, 4) > 0.8
    assert small["verdict"] == CANNOT_TELL and findable(small) == "no"
    assert published["verdict"] == "inconclusive" and findable(published) == "yes"
    assert power_text(published) == f"{small['power']:.2f}, {published['power_published']:.2f}"


def test_each_finding_has_its_published_effect_or_all_have_the_least():
    own, least = with_sizes([UNSURE, NARROW], 0.1, 0.03), with_sizes([UNSURE, NARROW], 0.03)
    narrow, unsure = (
        power(replace(DIRECTIONAL, smallest=size), of.effect.error, of.effect.freedom)
        for of, size in ((NARROW, 0.03), (UNSURE, 0.1))
    )
    assert own["power_published"] == round(min(narrow, unsure), 4)
    assert least["power_published"] < own["power_published"]


@pytest.mark.parametrize(
    ("found", "sizes", "said"),
    [
        ([UNSURE], (), "—"),
        ([UNSURE], (0.1,), "-0.1 accuracy; stronger than 1 of 1 intervals"),
        ([NARROW], (0.02,), "-0.02 accuracy; stronger than 0 of 1 intervals"),
        ([UNSURE, NARROW], (0.1, 0.02), "-0.1 and -0.02 accuracy; stronger than 1 of 2 intervals"),
        ([UNSURE, NARROW], (0.05,), "-0.05 accuracy at least; stronger than 2 of 2 intervals"),
        ([UNSURE], (0.01,), "-0.01 accuracy; stronger than 0 of 1 intervals; less than the smallest of interest"),
        ([of_networks(-0.1)], (0.1,), "-0.1 accuracy"),  # no interval
    ],
)
def test_published_effects_are_set_beside_the_intervals(found, sizes, said):
    assert published_text(with_sizes(found, *sizes)) == said


def test_an_interval_that_ends_at_zero_is_one():
    entry = with_sizes([NARROW], 0.05)
    entry["findings"][0] |= {"low": 0.0, "high": 0.01}
    assert published_text(entry).endswith("stronger than 1 of 1 intervals")


# In points, as papers print them: differences of their tables, or as they stand in the text.
IN_POINTS = {
    "V1": [0.56],
    "V5": [0.54],
    "V6": [0.5],
    "V7": [80.87 - 80.66, 80.87 - 79.97, 80.66 - 79.97],
    "V8a": [80.87 - 79.80, 80.87 - 78.48],
    "Q4a": [3.85, 1.58],
    "Q4b": [1.49],
    "Q5": [0.54],
    "Q6a": [0.93],
    "Q6b": [0.60],
    "Q8a": [74.44 - 63.22, 77.43 - 71.66],
    "Q8b": [82.69 - 80.68],
    "Q9": [83.02 - 82.28, 75.57 - 75.14, 79.12 - 78.55],
    "Q9b": [83.02 - 82.28, 75.57 - 75.14, 79.12 - 78.55],
    "Q10": [77.43 - 75.00, 77.43 - 75.83],
}


def test_published_effects_are_those_of_the_papers():
    every = {claim.id: claim for module in STUDY_CLAIMS.values() for claim in module.CLAIMS}
    assert {name for name, claim in every.items() if claim.sizes} == IN_POINTS.keys()
    for name, points in IN_POINTS.items():
        assert every[name].test.kind == "directional" and not every[name].any_target
        assert every[name].sizes == pytest.approx([each / 100 for each in points], abs=1e-9), name


def test_the_ledger_carries_a_digest_of_its_rules_without_comments():
    text = "def f():\n    'What it does.'\n    return 1  # why\n"
    assert rules.normalised(text) == rules.normalised("def f():\n    return 1") != rules.normalised("def f(): return 2")
    digests = {study: rules.digest(study) for study in ("hidden_cost", "vpns", "qprompt")}
    assert len(set(digests.values())) == 3
    assert {record["rules"] for record in judged(evidence()).values()} == {digests["hidden_cost"]}


def test_holm_by_hand_and_its_family_wise_error():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    draws = np.random.default_rng(2).uniform(size=(3000, 7))
    low, high = stats.binom.interval(SURE, 3000, 1 - (1 - 0.05 / 7) ** 7)
    assert low <= sum(min(holm(p)) < 0.05 for p in draws) <= high


FLOORS = Admission(share_of_dense=0.55, floor=0.1)
TARGETS = {"digits": 600, "textures": 700, "faces": 100}


def evidence(
    truth: dict[str, float] | None = None,
    seeds: int = 2,
    sources: int = 8,
    noise: float = 0.005,
    seed: int = 0,
    compressions=("dense", "imp-0.95", "w4a4"),
) -> Evidence:
    """Synthetic results; `truth` holds what iterative pruning adds to accuracy, ece_debiased, probe accuracy, twins."""
    truth, rng, rows = truth or {}, np.random.default_rng(seed), []
    for source in range(sources):
        for k in range(seeds):
            for target in TARGETS:
                for budget in ("10", "all"):
                    base = 0.7 + rng.normal(0, 0.05)
                    for name in compressions:
                        for method in ("visual_prompting", "linear_probe"):
                            pruned = name.startswith("imp")
                            key = "accuracy" if method == "visual_prompting" else "probe"
                            shift = truth.get(key, 0.0) * pruned
                            small = truth.get("small", 0.0) * pruned * (budget == "10")
                            worse = truth.get("ece_debiased", 0.0) * pruned + truth.get("quantized", 0.0) * (
                                name == "w4a4"
                            )
                            lost = 1 + round(truth.get("twins", 0) * pruned)
                            if pruned and budget == "10" and not k:  # without spread nothing could be tested
                                lost += source % 3 - 1
                            rows.append(
                                {
                                    "backbone": "cnn",
                                    "source_seed": source,
                                    "compression": name,
                                    "target": target,
                                    "method": method,
                                    "budget": budget,
                                    "seed": k,
                                    "status": "ok",
                                    "accuracy": base + shift + small + rng.normal(0, noise),
                                    "ece_debiased": 0.1 + worse + rng.normal(0, noise),
                                    "nll": 1.0 + worse + rng.normal(0, noise),
                                    "mapping": [40] * lost + list(range(lost, 10)),
                                    "evidence": [1] * 10,
                                }
                            )
    upstream = dict(zip(compressions, [0.95, 0.945, 0.9, 0.9, 0.9], strict=False))
    names = [str(k) for k in range(10)]
    facts = {
        ("cnn", target): {"pictures": {"test": test}, "classes": names, "source_classes": glyphs.class_names}
        for target, test in TARGETS.items()
    }
    return Evidence(pd.DataFrame(rows), measured_upstream(upstream, sources), facts)


def measured_upstream(upstream: dict[str, float], sources: int, floors: Admission = FLOORS) -> pd.DataFrame:
    backbones = pd.DataFrame(
        {"backbone": "cnn", "source_seed": source, "compression": name, "upstream_accuracy": value}
        for source in range(sources)
        for name, value in upstream.items()
    )
    return backbones.assign(admitted=admitted(backbones, floors))


def judged(found: Evidence, claims: tuple[Claim, ...] = CLAIMS) -> dict[str, dict]:
    return {entry["id"]: entry for entry in ledger.assess({"hidden_cost": (claims, found)})}


def test_known_effects_are_found_claim_by_claim():
    truth = {"accuracy": -0.08, "probe": -0.01, "small": -0.06, "ece_debiased": 0.06, "twins": 4}
    records = judged(evidence(truth))
    assert {records.pop(name)["verdict"] for name in ("H8", "H9")} == {NOT_RUN}  # one sparsity makes no line
    assert {record["verdict"] for record in records.values()} == {"reproduced"}
    h1 = records["H1"]["findings"][0]
    assert h1["label"] == "imp-0.95" and h1["effect"] == pytest.approx(
        -0.11, abs=0.01
    )  # −0.08, and −0.06 at one of two
    assert set(h1["targets"]) == set(TARGETS)
    assert records["H7"]["findings"][0]["effect"] == pytest.approx(-0.4, abs=0.01)
    assert set(h1["networks"]) == {"cnn", *(f"cnn {k}" for k in range(1, 8))}


def test_without_effects_the_claims_are_contradicted_and_calibration_is_not_worse():
    records = judged(evidence())
    assert {records.pop(name)["verdict"] for name in ("H8", "H9")} == {NOT_RUN}  # one sparsity makes no line
    assert records.pop("H4")["verdict"] == "reproduced"
    assert {record["verdict"] for record in records.values()} == {"contradicted"}


def test_no_claim_is_judged_from_one_network():
    """However clear the effect and however many seeds: another network may say the opposite."""
    records = judged(evidence({"accuracy": -0.3}, sources=1, seeds=10))
    assert {record["verdict"] for record in records.values()} == {ONE_NETWORK, NOT_RUN}
    h1 = records["H1"]
    assert h1["reading"] == "reproduced" and h1["reason"].startswith("in this network reproduced")
    assert h1["findings"][0]["high"] < -0.25 and h1["networks"] == 1


def test_networks_of_other_architectures_are_replicates_too():
    """One checkpoint of each of four architectures: the interval is that of a t test over the four."""
    one = evidence({"accuracy": -0.06}, sources=4)
    names = np.array(["cnn", "vit", "resnet", "swin"])
    runs, backbones = (
        table.assign(backbone=names[table["source_seed"]], source_seed=0) for table in (one.runs, one.backbones)
    )
    facts = {(name, target): fact for (_, target), fact in one.facts.items() for name in names}
    h1 = judged(Evidence(runs, backbones, facts))["H1"]
    assert h1["verdict"] == "reproduced" and h1["networks"] == 4
    of_networks = [found["effect"] for found in h1["findings"][0]["networks"].values()]
    oracle = stats.ttest_1samp(of_networks, 0).confidence_interval(0.95)
    assert (h1["findings"][0]["low"], h1["findings"][0]["high"]) == pytest.approx((oracle.low, oracle.high))


def test_a_network_that_answers_a_constant_decides_nothing():
    """Collapsed networks are at 0.1 on any target; among those that still work there is no effect."""
    found = evidence(sources=4)
    upstream = {"dense": 0.95, "imp-0.95": 0.02, "w4a4": 0.9}
    runs = found.runs.copy()
    runs.loc[(runs["compression"] == "imp-0.95") & (runs["source_seed"] > 1), ["accuracy", "ece_debiased"]] = 0.1, 0.8
    dead = measured_upstream(upstream, 4)
    some = dead.assign(admitted=dead["admitted"] | (dead["source_seed"] < 2))
    records = judged(replace(found, runs=runs, backbones=some))
    assert records["H1"]["findings"][0]["label"] == "imp-0.95 (2 of 4 networks collapsed)"
    assert abs(records["H1"]["findings"][0]["effect"]) < 0.02 and records["H1"]["networks"] == 2
    records = judged(replace(found, runs=runs, backbones=dead))
    for name in ("H1", "H2", "H3", "H5", "H7"):
        assert records[name]["verdict"] == COLLAPSED
        assert "4 of 4 networks collapsed" in records[name]["reason"] and records[name]["p"] is None
    assert records["H4"]["verdict"] == "reproduced"
    drawn = forest.draw(list(records.values()), "a paper")
    assert any("Not tested: collapsed: H1, H2, H3, H5, H7." in text.get_text() for text in drawn.texts)


@pytest.mark.parametrize(
    ("upstream", "enters"),
    [
        ({"dense": 0.9, "imp-0.95": 0.5}, [True, True]),
        ({"dense": 0.9, "imp-0.95": 0.49}, [True, False]),
        ({"dense": 0.09, "imp-0.95": 0.5}, [False, False]),
        ({"dense": 0.15, "imp-0.95": 0.09}, [True, False]),
        ({"imp-0.95": 0.9}, [False]),
    ],
)
def test_who_is_admitted(upstream, enters):
    assert measured_upstream(upstream, 1)["admitted"].tolist() == enters


def test_a_compression_that_trains_on_is_compared_with_dense_that_trained_on():
    found = evidence(compressions=("dense", "dense_distilled", "magnitude_distilled-0.50"), noise=0.0)
    shift = {"dense_distilled": -0.1, "magnitude_distilled-0.50": -0.13}
    runs = found.runs.assign(accuracy=0.7 + found.runs["compression"].map(shift).fillna(0))
    one = judged(replace(found, runs=runs))["H1"]["findings"][0]
    assert one["label"] == "magnitude_distilled-0.50 against dense_distilled"
    assert one["effect"] == pytest.approx(-0.03)


PUBLISHED = {  # upstream, as agreement with dense, of networks whose source is not at hand
    "dense": 1.0, "dense_distilled": 0.9, "reconstructed-0.50": 0.8, "reconstructed-0.60": 0.65,
    "reconstructed-0.70": 0.56, "reconstructed_distilled-0.60": 0.6, "w4a4": 0.2, "w8a8": 0.97, "w4a8": 0.8,
    "w4a8-gptq": 0.85, "int4-gptq": 0.9,
}  # fmt: skip


def published_networks(seventy: int = 2) -> Evidence:
    """Evidence on four published networks, of which so many are admitted at 70 %."""
    found = evidence(compressions=tuple(PUBLISHED), sources=4)
    names = np.array(["lite0", "lite1", "lite2", "mobilenet"])
    runs, upstream = (
        table.assign(backbone=names[table["source_seed"]], source_seed=0)
        for table in (found.runs, measured_upstream(PUBLISHED, 4))
    )
    lost = (upstream["compression"] == "reconstructed-0.70") & upstream["backbone"].isin(names[seventy:])
    upstream["upstream_accuracy"] = upstream["upstream_accuracy"].mask(lost, 0.3)
    facts = {(name, target): fact for (_, target), fact in found.facts.items() for name in names}
    return Evidence(runs, upstream.assign(admitted=admitted(upstream, FLOORS)), facts)


def test_primary_networks_are_chosen_by_admission_alone():
    found = published_networks()
    assert found.sparsest == "reconstructed_distilled-0.60"  # more recovery, of two equally sparse ones
    assert measures.quantized(found) == ["w4a8-gptq", "w8a8"]
    assert published_networks(seventy=3).sparsest == "reconstructed-0.70"
    better = found.runs["compression"].replace({"w4a8": "w8a8-mse", "w8a8": "w4a4-gptq"})  # the ranges that were run
    renamed = found.backbones["compression"].replace({"w4a8": "w8a8-mse", "w8a8": "w4a4-gptq"})
    other = replace(
        found, runs=found.runs.assign(compression=better), backbones=found.backbones.assign(compression=renamed)
    )
    assert measures.quantized(other) == ["w4a4-gptq"]
    only = found.runs["compression"].isin(["dense", "reconstructed-0.70", "w4a4", "w8a8"])
    collapsed = replace(found, runs=found.runs[only])
    assert collapsed.sparsest == "reconstructed-0.70" and measures.quantized(collapsed) == ["w4a4"]
    records = judged(found)
    told = {name for name, record in records.items() if record["verdict"] in READINGS}
    assert told >= {"H1", "H2", "H3", "H4", "H5"}
    assert records["H1"]["findings"][0]["label"] == "reconstructed_distilled-0.60 against dense_distilled"
    assert all(records[name]["networks"] == 4 for name in told)


def with_mapping_alone(adds: float, shaken: float = 0.002) -> Evidence:
    found = evidence()
    prompt = found.runs[found.runs["method"] == "visual_prompting"]
    noise = np.random.default_rng(0).normal(0, shaken, len(prompt)) if shaken else 0.0
    alone = prompt.assign(method="mapping_only", accuracy=prompt["accuracy"] - adds + noise)
    return replace(found, runs=pd.concat([found.runs, alone]))


@pytest.mark.parametrize(("adds", "verdict"), [(0.05, "reproduced"), (0.0, "contradicted")])
def test_what_a_prompt_adds_to_its_mapping(adds, verdict):
    h8 = judged(with_mapping_alone(adds))["H8"]
    assert [each["label"] for each in h8["findings"]] == ["dense", "imp-0.95"]
    assert h8["verdict"] == verdict and "no published claim" in h8["published"]


def test_a_worse_calibration_of_quantized_backbones_contradicts_h4():
    assert judged(evidence({"quantized": 0.06}))["H4"]["verdict"] == "contradicted"


@pytest.mark.parametrize("holds", [False, True])
def test_whole_ledgers_seldom_err_in_either_direction(holds):
    """A small run of `benchmarks.null_ledgers`. Uncorrected, most ledgers hold an error: the cases are hard enough."""
    found = null_ledgers.measure(5, networks=4, holds=holds)
    assert not null_ledgers.too_many(found)
    assert null_ledgers.too_many(found | {"wrong": 5 * found["uncorrected"]})


def crossed(draw, networks: int, pictures: int) -> np.ndarray:
    """Change of correctness (networks, pictures) when networks and pictures differ in what they lose; mean −0.05."""
    easy, lost = draw.normal(0, 0.15, pictures), draw.normal(0.05, 0.005, (networks, 1)) + draw.normal(0, 0.4, pictures)
    dense, pruned = (np.clip(each, 0, 1) for each in (0.6 + easy, 0.6 + easy - lost))
    right = [draw.uniform(size=(networks, pictures)) < chance for chance in (dense, pruned)]
    return right[1].astype(float) - right[0]


def test_intervals_cover_other_pictures_as_well_as_other_networks():
    """With a few hundred test pictures, intervals over networks alone miss the truth far too often."""
    draw, studies, held, alone = np.random.default_rng(0), 300, 0, 0
    truth = crossed(draw, 4, 400_000).mean()
    of_blocks = blocks(200)
    for _ in range(studies):
        values = crossed(draw, 6, 200)
        effect = Effect.of(values.mean(axis=1))
        both = effect.with_pictures([Effect.of(values[:, of_blocks != k].mean(axis=1)) for k in range(BLOCKS)])
        held, alone = held + (both.low <= truth <= both.high), alone + (effect.low <= truth <= effect.high)
    assert held >= stats.binom.ppf(1 - SURE, studies, 0.95)
    assert alone < stats.binom.ppf(1 - SURE, studies, 0.95)


def test_rows_that_hold_blocks_of_pictures_widen_the_intervals_of_the_ledger():
    """The ledger's interval is that of the blocks' differences, worked out from the pictures themselves."""
    draw, rows, right = np.random.default_rng(0), [], {}
    for source in range(5):
        for name, share in (("dense", 0.8), ("imp-0.95", 0.7)):
            right[name, source] = draw.uniform(size=200) < share
            chances = np.where(right[name, source][:, None], [0.9, 0.1], [0.1, 0.9])
            made = row("visual_prompting", chances, np.zeros(200, dtype=int), budget=10)
            identity = {"backbone": "cnn", "source_seed": source, "target": "digits", "compression": name}
            rows.append(identity | made | made["metrics"])
    upstream = measured_upstream({"dense": 0.95, "imp-0.95": 0.95}, 5)
    found = Evidence(pd.DataFrame(rows), upstream, {("cnn", "digits"): {"pictures": {"test": 200}}})
    h1 = judged(found, CLAIMS[:1])["H1"]["findings"][0]
    without = judged(replace(found, runs=found.runs.drop(columns="left_out")), CLAIMS[:1])["H1"]["findings"][0]
    assert h1["effect"] == without["effect"]
    values = np.array([right["imp-0.95", k].astype(float) - right["dense", k] for k in range(5)])
    table = np.array([[one[blocks(200) == block].mean() for block in range(BLOCKS)] for one in values])
    rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    rows_, columns = table.mean(1).var(ddof=1) / 5, table.mean(0).var(ddof=1) / BLOCKS
    variance = max(rows_ + columns - (rest**2).sum() / (4 * (BLOCKS - 1)) / table.size, rows_, columns)
    freedom = variance**2 / (rows_**2 / 4 + columns**2 / (BLOCKS - 1))
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    assert h1["high"] - h1["low"] == pytest.approx(2 * half, rel=1e-3)  # rows hold seven digits


def test_source_checkpoints_are_the_clusters():
    """Checkpoints differ by far more than seeds do: taken for independent, seeds would reject too often."""
    runs = evidence(seeds=10, sources=3, compressions=("dense", "imp-0.95")).changes("accuracy", "imp-0.95")
    draw, rejected = np.random.default_rng(0), {"clustered": 0, "naive": 0}
    for _ in range(200):
        values = runs.assign(value=draw.normal(0, 0.05, 3)[runs["source_seed"]] + draw.normal(0, 0.007, len(runs)))
        assert len(replicates(values)) == 3
        rejected["clustered"] += Effect.of(replicates(values)).p_below(0) < 0.05
        naive = values.groupby(["source_seed", "seed"])["value"].mean()
        rejected["naive"] += Effect.of(naive).p_below(0) < 0.05
    assert rejected["clustered"] <= stats.binom.ppf(SURE, 200, 0.05)
    assert rejected["naive"] > 200 * 0.2


def test_small_test_sets_stay_out_of_pooled_calibration_but_are_shown():
    found = evidence()
    runs = found.runs.copy()
    odd = (runs["target"] == "faces") & (runs["compression"] == "imp-0.95")
    runs.loc[odd, "ece_debiased"] += 0.5
    finding = judged(replace(found, runs=runs))["H3"]["findings"][0]
    assert abs(finding["effect"]) < 0.02
    assert finding["targets"]["faces"]["effect"] > 0.4


def test_what_a_scale_lacks_is_not_run():
    records = judged(evidence(compressions=("dense", "int4", "int2")))
    assert {key for key, r in records.items() if r["verdict"] == "not run at this scale"} == {
        "H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9",
    }  # fmt: skip
    assert records["H4"]["beside"]  # weights alone are shown
    json.dumps(list(records.values()), allow_nan=False)


def test_one_seed_decides_nothing():
    records = judged(evidence({"accuracy": -0.3}, seeds=1, sources=1))
    assert {record["reading"] for record in records.values()} == {"inconclusive", None}
    json.dumps(list(records.values()), allow_nan=False)


def test_the_ledger_is_written_whole_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.paths, "RESULTS", tmp_path)
    records = list(judged(evidence()).values())
    (tmp_path / "smoke").mkdir()
    ledger.write("smoke", records)
    assert ledger.read("smoke") == records
    assert ledger.read("default") == []


def test_the_committed_ledger_follows_from_the_committed_results(committed_results, monkeypatch):
    """Of all three studies: the same findings to eight digits, and the same verdicts for the same reasons."""
    monkeypatch.setattr(paths, "RESULTS", committed_results)
    entries = ClaimsReport(parameters("default"), save=False).entries
    committed = ledger.read("default")
    assert [entry["id"] for entry in entries] == [entry["id"] for entry in committed]
    for entry, known in zip(entries, committed, strict=True):
        assert (entry["verdict"], entry["reason"]) == (known["verdict"], known["reason"])
        for kind in ("findings", "beside"):
            for found, same in zip(entry[kind], known[kind], strict=True):
                for key in ("effect", "low", "high", "p"):
                    assert found[key] == pytest.approx(same[key], abs=1e-8), (entry["id"], found["label"])


def test_log_odds_are_finite_for_any_count():
    one = measures.log_odds(pd.Series([0.5, 0.0, 1.0, 0.1]), pd.Series([600] * 4))
    assert one[0] == pytest.approx(0.0)
    assert one[1] == pytest.approx(-one[2]) and one[2] == pytest.approx(np.log(600.5 / 0.5))
    assert one[3] == pytest.approx(np.log(60.5 / 540.5))


def test_tasks_at_chance_when_dense_say_nothing_about_what_compression_costs():
    found = evidence()
    runs = found.runs.copy()
    hopeless = (runs["target"] == "textures") & (runs["budget"] == "10") & (runs["method"] == "visual_prompting")
    runs.loc[hopeless, "accuracy"] = 0.1
    one = judged(replace(found, runs=runs))["H5"]["findings"][0]
    assert one["label"] == "imp-0.95, log-odds (16 of 96 runs on tasks at chance when dense)"
    assert set(one["targets"]) == set(TARGETS)  # at the other budget
    floor = (runs["compression"] == "imp-0.95") & (runs["method"] == "visual_prompting")
    runs.loc[floor, "accuracy"] = 0.1  # what falls to chance is a loss, not left out
    assert judged(replace(found, runs=runs))["H5"]["verdict"] == "reproduced"


def near_chance(seed: int) -> Evidence:
    """Results in which prompts are as likely above as below what a task needs to count, and nothing has an effect."""
    found, draw = evidence(seeds=5, seed=seed), np.random.default_rng(seed)
    prompts = found.runs["method"] == "visual_prompting"
    needed = 0.1 + measures.ABOVE_CHANCE * (0.09 / found.runs["target"].map(TARGETS)) ** 0.5
    reached = (needed + draw.normal(0, 0.03, len(prompts))).clip(0.02)
    runs = found.runs.assign(accuracy=found.runs["accuracy"].mask(prompts, reached))
    left_out = [
        {name: (one[name] + draw.normal(0, 0.003, BLOCKS)).tolist() for name in ("accuracy", "ece_debiased")}
        for one in runs.to_dict("records")
    ]
    return replace(found, runs=runs.assign(left_out=left_out))


def test_tasks_near_chance_count_by_what_dense_reaches_on_average():
    """Runs picked where dense was lucky would fall on average; and what is picked is the same for all test pictures."""
    found = [judged(near_chance(seed), (CLAIMS[4],))["H5"]["findings"] for seed in range(6)]
    effects = [one["effect"] for each in found for one in each if one["effect"] is not None]
    assert effects and abs(np.mean(effects)) < 0.1


def test_a_target_that_one_of_several_networks_has_decides_nothing():
    found = evidence(seeds=5)
    alone = (found.runs["target"] == "faces") & (found.runs["source_seed"] > 0)
    runs = found.runs[~alone].copy()
    hurt = (runs["target"] == "faces") & (runs["compression"] == "imp-0.95") & (runs["method"] == "visual_prompting")
    runs.loc[hurt, "accuracy"] -= 0.3
    h6 = judged(replace(found, runs=runs))["H6"]
    assert h6["findings"][0]["targets"]["faces"]["n"] == 1
    assert h6["verdict"] != "reproduced"


def test_a_claim_without_comparable_runs_is_not_tested():
    found = evidence()
    runs = found.runs.assign(accuracy=found.runs["accuracy"].mask(found.runs["method"] == "visual_prompting", 0.1))
    h5 = judged(replace(found, runs=runs))["H5"]
    assert h5["verdict"] == NOT_TESTED and "96 of 96 runs on tasks at chance" in h5["reason"]


def test_results_without_networks_or_without_finished_runs_are_no_evidence(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    found = evidence()
    assert hidden_cost_evidence(parameters("smoke"), results.Results(found.runs, [], [], [], [])) is None
    assert not has_blocks(found.runs.assign(status="diverged", left_out=None))
    assert not has_blocks(found.runs)


def test_every_twin_is_a_source_class_and_every_target_class_has_one():
    for target, table in twins.TWINS.items():
        assert set(table) == set(load_target(target).class_names)
        assert set("".join(table.values())) <= set(glyphs.class_names)
        assert all(name in characters for name, characters in table.items())
    names = [str(k) for k in range(10)]
    assert twins.share("digits", names, ["O", "l", *"23456789"], [1] * 10) == 1.0
    assert twins.share("digits", names, ["1", "0", *"23456789"], [1] * 10) == 0.8
    # glyphs begin with the digits, so what a mapping without any count falls back to looks semantic
    mapped = [glyphs.class_names[source] for source in frequency_mapping(np.zeros((len(glyphs.class_names), 10)))]
    assert mapped == names
    assert twins.share("digits", names, mapped, [0] * 10) == 0.0


def test_the_loss_that_upstream_accuracy_does_not_explain():
    """Changes of −0.04 at an unchanged upstream accuracy, and as much again as upstream accuracy loses."""
    upstream = {"dense": 0.95, "imp-0.50": 0.95, "imp-0.80": 0.93, "imp-0.90": 0.90, "magnitude-0.90": 0.10}
    found = evidence(compressions=tuple(upstream), noise=0.0)
    runs, dense = found.runs.copy(), found.runs["compression"] == "dense"
    runs["accuracy"] = 0.9 + runs["compression"].map(upstream) - 0.95 - 0.04 * ~dense
    backbones = measured_upstream(upstream, 8)
    (one,) = measures.at_equal_upstream(replace(found, runs=runs, backbones=backbones))
    assert one.effect.mean == pytest.approx(-0.04)
    assert set(one.targets) == set(TARGETS)
    few = runs[runs["compression"].isin(["dense", "imp-0.50", "magnitude-0.90"])]
    assert measures.at_equal_upstream(replace(found, runs=few, backbones=backbones)) == []


def test_some_target_must_show_an_effect_that_is_both_sure_and_large():
    """One target with a sure but tiny loss and one with a large but unsure one do not add up to a claim."""
    found = evidence(noise=0.0, compressions=("dense", "imp-0.95"))
    runs = found.runs.assign(accuracy=0.7)
    runs = runs[runs["source_seed"] < 3]
    pruned = runs["compression"] == "imp-0.95"
    tiny, wild = pruned & (runs["target"] == "digits"), pruned & (runs["target"] == "textures")
    runs.loc[tiny, "accuracy"] = 0.7 - 0.004 + runs["source_seed"].map({0: 1e-4, 1: 0.0, 2: -1e-4})
    runs.loc[wild, "accuracy"] = 0.7 + runs["source_seed"].map({0: -0.15, 1: 0.05, 2: 0.03})
    assert judged(replace(found, runs=runs))["H6"]["reading"] == "inconclusive"


@pytest.mark.parametrize("lost", ["dense", "w4a4", "imp-0.95"])
def test_runs_that_diverged_are_left_out_and_stop_nothing(lost):
    found = evidence()
    one = (found.runs["compression"] == lost) & (found.runs["seed"] == 0)
    every = found.runs["compression"] == lost
    for which in (one, every) if lost != "dense" else (one,):
        runs = found.runs.assign(status=np.where(which, "diverged", "ok"))
        runs["accuracy"] = runs["accuracy"].where(~which)
        runs["mapping"] = runs["mapping"].where(~which, None)
        records = judged(replace(found, runs=runs))
        assert {record["verdict"] for record in records.values()} <= set(VERDICTS)


def test_trained_quantization_is_the_primary_one_where_it_was_run():
    found = evidence(compressions=("dense", "dense_tuned", "imp-0.95", "w4a4", "w4a4-lsq"))
    record = judged(found)["H4"]
    assert [finding["label"].split()[0] for finding in record["findings"]] == ["w4a4-lsq"]
    assert "w4a4" in [finding["label"] for finding in record["beside"]]


def test_tables_in_the_readme_are_those_of_the_committed_ledgers():
    shown = answers.answers()
    for scale in answers.scales():
        run = [each for each in ledger.read(scale) if each["verdict"] != NOT_RUN]
        for entry in run:
            page = f"results/{scale}/{STAGES[entry['study']].notebook}.html"
            assert f'<a href="{page}">{entry["id"]}</a>' in shown
            assert (paths.NOTEBOOKS / "rendered" / scale / page.rpartition("/")[2]).with_suffix(".ipynb").exists()
        assert shown.count(f">{scale}</td>") == len(run)
    blocks = list(answers.BLOCK.finditer(answers.README.read_text(encoding="utf-8")))
    assert {found[2] for found in blocks} == {*answers.STUDIES}
    for found in blocks:
        assert found[0] == answers.block(*found.groups()), "run `python -m studies.claims.answers`"
        entries = [entry for entry in ledger.read(found[1]) if entry["study"] == found[2]]
        assert found[0].count("\n| [") == sum(entry["verdict"] != NOT_RUN for entry in entries) > 1
