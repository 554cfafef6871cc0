"""The claims of the vpns study on results of which the truth is known."""

import numpy as np
import pandas as pd
import pytest

from studies.claims import ledger
from studies.claims.verdict import COLLAPSED, NOT_RUN, NOT_TESTED
from studies.vpns.claims import CLAIMS
from studies.vpns.evidence import BASELINES, SINGLE_PASS, VpnsEvidence, arm, changes, difference, words

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
                            "accuracy": 0.7 + effect + shared[source, t, seed] + draw.normal(0, noise),
                        }
                        for seed in (0, 1)
                    ]
    return VpnsEvidence(pd.DataFrame(rows))


def judged(evidence: VpnsEvidence) -> dict[str, dict]:
    return {record["id"]: record for record in ledger.assess({"vpns": (CLAIMS, evidence)})}


DENSE = {arm("dense"): 0.0}
OTHERS = DENSE | {arm(name): 0.0 for name in BASELINES}
GAIN = OTHERS | {arm("vpns"): 0.03, arm("imp", "published"): 0.0}
IN_TUNING = {
    key: effect
    for name in ("random", "omp", "imp")
    for key, effect in {arm(name): 0.0, arm(name, "two_pass"): 0.05, arm(name, "prompted"): 0.05}.items()
}
AFTERWARDS = {
    key: effect
    for name, gain in (("omp", 0.2), ("hydra", 0.0))
    for key, effect in {
        arm(name): 0.0,
        arm(name, "prompt_after"): 0.0,
        arm(name, "bn"): -0.4,
        arm(name, "prompt_only"): gain - 0.4,
    }.items()
}
PHASES = {arm("vpns"): 0.04, arm("vpns_tuning_only"): 0.02, arm("vpns_mask_only"): 0.0}
KNOWN = {  # effects, and what they make of claims
    "a gain over all": (GAIN, dict.fromkeys(("V1", "V2", "V3"), "reproduced")),
    "one baseline is better": (GAIN | {arm("snip"): 0.05}, {"V1": "contradicted", "V2": "reproduced"}),
    "IMP as published, a condition added after a run": (GAIN | {arm("imp", "published"): 0.06}, {"V2": "reproduced"}),
    "IMP is better": (GAIN | {arm("imp"): 0.06}, {"V2": "contradicted"}),
    "a loss against dense": (OTHERS | {arm("vpns"): -0.03}, {"V3": "contradicted"}),
    "prompts that hurt after pruning do not help": (
        DENSE | AFTERWARDS | {arm("omp", "prompt_after"): -0.05, arm("hydra", "prompt_after"): -0.05},
        {"V4a": "reproduced"},
    ),
    "two passes alone help": (DENSE | IN_TUNING, {"V6": "contradicted"}),
    "prompts after pruning": (DENSE | AFTERWARDS, dict.fromkeys(("V4a", "V4b", "V4c"), "reproduced")),
    "phases in order": (DENSE | PHASES, {"V7": "reproduced"}),
    "two phases are equal": (DENSE | PHASES | {arm("vpns_mask_only"): 0.02}, {"V7": "contradicted"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_effects_have_their_verdicts(name):
    effects, expected = KNOWN[name]
    entries = judged(runs(effects))
    assert {claim: entries[claim]["verdict"] for claim in expected} == expected


def test_what_was_not_run_is_said_and_all_else_measured():
    entries = judged(runs(OTHERS | {arm("vpns"): 0.03}))
    assert [name for name in IDS if entries[name]["verdict"] != NOT_RUN] == ["V1", "V2", "V3"]
    assert len(entries["V1"]["findings"]) == 7 * 2  # each baseline that does not iterate, at each sparsity
    assert entries["V1"]["findings"][0]["effect"] == pytest.approx(0.03, abs=0.002)
    assert len(entries["V3"]["findings"]) == 1  # the lowest sparsity; others stand beside
    assert entries["V3"]["beside"]


def test_what_is_published_at_lower_sparsities_alone_is_not_judged_above_them():
    for sparsities, verdict in (((0.8, 0.9), "contradicted"), ((0.9,), NOT_TESTED)):
        entry = judged(runs(OTHERS | {arm("vpns"): -0.03}, sparsities=sparsities))["V3"]
        assert entry["verdict"] == verdict
    assert "90 %" in entry["reason"] and "80 %" in entry["reason"]
    assert entry["beside"]


def test_a_network_that_has_collapsed_is_no_opponent():
    evidence = runs(OTHERS | {arm("vpns"): 0.03, arm("imp", "published"): 0.0}, sparsities=(0.95,))
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
    assert record["verdict"] == COLLAPSED
    assert "VPNs − IMP, 95 % (20 of 20 pairs collapsed or diverged)" in record["reason"]


def test_a_collapse_of_vpns_is_no_excuse():
    evidence = runs(OTHERS | {arm("vpns"): -0.5})
    evidence.runs.loc[evidence.runs["pruner"] == "vpns", "collapsed"] = True
    assert judged(evidence)["V1"]["verdict"] == "contradicted"


def test_changes_group_by_target_and_sparsity():
    evidence, pairs = runs(GAIN, sources=1), [("gain", arm("vpns"), arm("omp"))]
    each = changes(evidence, pairs, by_target=True)
    assert list(each[["group", "target"]].itertuples(index=False, name=None)) == [
        (group, target) for group in ("80 %", "95 %") for target in ("digits", "textures")
    ]
    (pooled,) = changes(evidence, pairs, by_sparsity=False).to_dict("records")
    assert (pooled["group"], pooled["n"], pooled["replicates"]) == ("80 % and 95 %", 8, 2)  # a replicate for each seed
    assert pooled["mean"] == pytest.approx(each["mean"].mean())


def test_every_name_in_a_claim_is_registered():
    evidence = runs(OTHERS)
    for claim in CLAIMS:  # an unknown name would raise in `words`
        claim.measure(evidence)
        claim.beside(evidence)
    assert words(arm("omp", "prompt_after")) == "OMP, prompt after tuning"
    assert words(arm("omp", "prompt_after", "bare")) == "OMP, prompt after tuning, taken off again"
    assert words(arm("vpns", view="prompted")) == "VPNs, with prompt"
    assert {*SINGLE_PASS, "imp"} == {*BASELINES}
