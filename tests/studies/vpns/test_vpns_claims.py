"""The claims of the vpns study on results of which the truth is known."""

import numpy as np
import pandas as pd
import pytest

from studies.claims import ledger, verdict
from studies.claims.verdict import Effect
from studies.statistics import paired
from studies.vpns.claims import CLAIMS
from studies.vpns.evidence import SHORT, SINGLE_PASS, VpnsEvidence, arm, difference, words
from vpstudy.training.mask_search.methods import CONTROLS, METHODS

IDS = [claim.id for claim in CLAIMS]


def runs(effects: dict[tuple[str, str, str], float], sparsities=(0.8, 0.95), sources=5, noise=0.001) -> VpnsEvidence:
    """Runs whose accuracy is 0.7, more by an arm's effect, with what pairs share and a little noise."""
    draw, rows = np.random.default_rng(0), []
    shared = draw.normal(0, 0.05, (sources, 2, 2))
    for (pruner, name, view), effect in effects.items():
        for sparsity in (0.0,) if pruner == "dense" else sparsities:
            for source in range(sources):
                for t, target in enumerate(("digits", "textures")):
                    rows += [
                        {
                            "backbone": "cnn",
                            "source_seed": source,
                            "target": target,
                            "seed": seed,
                            "pruner": pruner,
                            "arm": name,
                            "view": view,
                            "sparsity": sparsity,
                            "status": "ok",
                            "collapsed": False,
                            "passes": 160,
                            "accuracy": 0.7 + effect + shared[source, t, seed] + draw.normal(0, noise),
                        }
                        for seed in (0, 1)
                    ]
    return VpnsEvidence(pd.DataFrame(rows))


def judged(evidence: VpnsEvidence) -> dict[str, dict]:
    return {record["id"]: record for record in ledger.assess("vpns", CLAIMS, evidence)}


BASELINES = {arm(name): 0.0 for name, method in METHODS.items() if method.role == "baseline"}
DENSE = {arm("dense"): 0.0}


def test_what_was_not_run_is_told():
    records = judged(runs(DENSE | BASELINES | {arm("vpns"): 0.03}))
    verdicts = {name: record["verdict"] for name, record in records.items()}
    assert [name for name in IDS if verdicts[name] != "not run at this scale"] == ["V1", "V3", "V10"]


def test_a_gain_over_every_baseline_is_reproduced():
    records = judged(runs(DENSE | BASELINES | {arm("vpns"): 0.03, arm("imp", "published"): 0.0}))
    assert [records[name]["verdict"] for name in ("V1", "V2", "V3", "V10")] == ["reproduced"] * 4
    assert len(records["V1"]["findings"]) == 7 * 2  # each baseline that does not iterate, at each sparsity
    assert records["V1"]["findings"][0]["effect"] == pytest.approx(0.03, abs=0.002)


def test_one_baseline_that_is_better_contradicts():
    records = judged(runs(DENSE | BASELINES | {arm("snip"): 0.05, arm("vpns"): 0.03}))
    assert records["V1"]["verdict"] == "contradicted"
    assert records["V2"]["verdict"] == "not run at this scale"  # without IMP as published


def test_a_loss_against_dense_is_no_match():
    records = judged(runs(DENSE | BASELINES | {arm("vpns"): -0.03}))
    assert records["V3"]["verdict"] == "contradicted"
    assert len(records["V3"]["findings"]) == 1
    assert records["V3"]["beside"]


def test_a_network_that_has_collapsed_is_no_opponent():
    evidence = runs(DENSE | BASELINES | {arm("vpns"): 0.03, arm("imp", "published"): 0.0}, sparsities=(0.95,))
    frame = evidence.runs
    is_imp = (frame["pruner"] == "imp") & (frame["arm"] == "main")
    dead = is_imp & (frame["source_seed"] < 2)
    frame.loc[dead, "accuracy"], frame.loc[dead, "collapsed"] = 0.1, True
    found = difference(VpnsEvidence(frame), arm("vpns"), arm("imp"), 0.95)
    assert found.effect.mean == pytest.approx(0.03, abs=0.003)
    assert found.effect.n == 3
    assert "8 of 20 pairs collapsed or diverged" in found.label
    frame.loc[is_imp, "collapsed"] = True
    none = difference(VpnsEvidence(frame), arm("vpns"), arm("imp"), 0.95)
    assert none.effect.n == 0
    assert "20 of 20 pairs" in none.label
    record = judged(VpnsEvidence(frame))["V2"]
    assert record["verdict"] == "inconclusive"
    assert "could not be compared: VPNs − IMP, 95 %" in record["reason"]


def test_a_collapse_of_vpns_is_no_excuse():
    evidence = runs(DENSE | BASELINES | {arm("vpns"): -0.5})
    evidence.runs.loc[evidence.runs["pruner"] == "vpns", "collapsed"] = True
    assert judged(evidence)["V1"]["verdict"] == "contradicted"


def test_iterative_pruning_must_be_beaten_as_published_too():
    arms = DENSE | BASELINES | {arm("vpns"): 0.03}
    assert judged(runs(arms | {arm("imp", "published"): 0.0}))["V2"]["verdict"] == "reproduced"
    record = judged(runs(arms | {arm("imp", "published"): 0.06}))["V2"]
    assert record["verdict"] == "contradicted"
    assert "in 2 of 4 findings (VPNs − IMP, published, 80 %, …)" in record["reason"]


def test_findings_share_the_level_of_a_contradiction():
    effect, test = Effect.of([-0.01, 0.0, 0.004, 0.003, -0.006]), verdict.Test("one-sided", 1, 0.005)
    p = effect.p_below(0.005)
    assert 0.05 / 14 < p < 0.05  # one alone contradicts, one of fourteen does not
    assert test.verdict(effect, 1.0) == "contradicted"
    assert test.verdict(effect, 1.0, 0.05 / 14) == "inconclusive"


@pytest.mark.parametrize("sign", [1, -1])
def test_equivalence_without_a_worse_side_is_contradicted_on_either(sign):
    effect, test = Effect.of([sign * 0.02, sign * 0.021, sign * 0.022]), verdict.Test("equivalence", 0, 0.01)
    assert test.verdict(effect, test.p(effect)) == "contradicted"
    assert test.verdict(Effect.of([sign * 0.001, 0.0, 0.0]), 0.001) == "reproduced"


def test_what_holds_by_design_costs_the_others_nothing():
    records = judged(runs(DENSE | BASELINES | {arm("vpns"): 0.03, arm("imp", "published"): 0.0}))
    assert records["V10"]["p_holm"] == records["V10"]["p"]
    assert "by the design of this study" in records["V10"]["reason"]
    family = sorted((records[name]["p"], records[name]["p_holm"]) for name in ("V1", "V2", "V3"))
    assert family[0][1] == pytest.approx(3 * family[0][0])


def test_prompts_in_tuning_are_judged_against_the_same_passes_without_one():
    arms = {}
    for name in ("random", "omp", "imp"):
        arms |= {arm(name): 0.0, arm(name, "two_pass"): 0.05, arm(name, "prompted"): 0.05}
    records = judged(runs(DENSE | arms))
    assert records["V6"]["verdict"] == "contradicted"  # all that helps is the two passes
    assert records["V6"]["beside"][0]["effect"] == pytest.approx(0.05, abs=0.003)


def test_prompts_after_pruning():
    arms = {}
    for name in ("omp", "hydra"):
        arms |= {arm(name): 0.0, arm(name, "prompt_after"): 0.0, arm(name, "bn"): -0.4}
        arms |= {arm(name, "prompt_only"): -0.4 + (0.2 if name == "omp" else 0.0)}
    records = judged(runs(DENSE | arms))
    assert [records[name]["verdict"] for name in ("V4a", "V4b", "V4c")] == ["reproduced"] * 3
    assert arm("omp", "prompt_only")[2] == "prompted"


def test_phases_need_all_three_orders():
    arms = {arm("vpns"): 0.04, arm("vpns_tuning_only"): 0.02, arm("vpns_mask_only"): 0.0}
    assert judged(runs(DENSE | arms))["V7"]["verdict"] == "reproduced"
    arms[arm("vpns_mask_only")] = 0.02
    assert judged(runs(DENSE | arms))["V7"]["verdict"] == "contradicted"


def test_costs_are_ratios():
    evidence = runs(DENSE | BASELINES | {arm("vpns"): 0.0})
    evidence.runs.loc[evidence.runs["pruner"] == "vpns", "passes"] = 240
    record = judged(evidence)["V10"]
    assert record["verdict"] == "contradicted"
    assert record["findings"][0]["effect"] == pytest.approx(0.5)


def test_every_name_in_a_claim_is_registered():
    evidence = runs(DENSE | BASELINES)
    for claim in CLAIMS:  # an unknown name would raise in `words`
        claim.measure(evidence)
        claim.beside(evidence)
    assert words(arm("omp", "prompt_after")) == "OMP, prompt after tuning"
    assert words(arm("omp", "prompt_after", "bare")) == "OMP, prompt after tuning, taken off again"
    assert words(arm("vpns", view="prompted")) == "VPNs, with prompt"
    assert set(SHORT) == {"published", *CONTROLS}
    assert set(SINGLE_PASS) | {"imp"} == {n for n, m in METHODS.items() if m.role == "baseline"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.02, 0.03, 0.025], "reproduced"),
        ([-0.001, 0.001, 0.0], "reproduced"),
        ([-0.05, -0.04, -0.045], "contradicted"),
        ([-0.05, 0.05, 0.0], "inconclusive"),
    ],
)
def test_non_inferiority(values, expected):
    test, effect = verdict.Test("non-inferiority", 1, 0.01), Effect.of(values)
    assert test.verdict(effect, test.p(effect)) == expected
    mirrored, opposite = verdict.Test("non-inferiority", -1, 0.01), Effect.of([-v for v in values])
    assert mirrored.p(opposite) == pytest.approx(test.p(effect))
    assert mirrored.verdict(opposite, mirrored.p(opposite)) == expected


def test_pairs_agree_in_every_column():
    one = pd.DataFrame({"seed": [0, 1, 2], "status": ["ok", "ok", "diverged"], "accuracy": [0.5, 0.6, None]})
    other = pd.DataFrame({"seed": [1, 0, 2, 3], "status": ["ok"] * 4, "accuracy": [0.4, 0.1, 0.2, 0.3]})
    pairs = paired(one, other, ["seed"], "accuracy").set_index("seed")
    assert pairs.loc[0, "difference"] == pytest.approx(0.4)
    assert pairs.loc[1, "difference"] == pytest.approx(0.2)
    assert pairs.loc[2, "status"] == "diverged"
    assert 3 not in pairs.index
    with pytest.raises(pd.errors.MergeError):
        paired(one, pd.concat([other, other]), ["seed"], "accuracy")
