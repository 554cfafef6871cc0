"""Verdicts of single effects, beside the error rates that `test_claims` measures."""

import pytest

from studies.claims.verdict import Effect
from studies.claims.verdict import Test as Rule  # pytest would collect a class called Test

NON_INFERIOR = {
    "reproduced": ([0.02, 0.03, 0.025], [-0.001, 0.001, 0.0]),
    "contradicted": ([-0.05, -0.04, -0.045],),
    "inconclusive": ([-0.05, 0.05, 0.0],),
}


def test_findings_share_the_level_of_a_contradiction():
    effect, rule = Effect.of([-0.01, 0.0, 0.004, 0.003, -0.006]), Rule("one-sided", 1, 0.005)
    assert 0.05 / 14 < effect.p_below(0.005) < 0.05  # one alone contradicts, one of fourteen does not
    assert rule.verdict(effect, 1.0) == "contradicted"
    assert rule.verdict(effect, 1.0, 0.05 / 14) == "inconclusive"


@pytest.mark.parametrize("sign", [1, -1])
def test_equivalence_without_a_worse_side_is_contradicted_on_either(sign):
    effect, rule = Effect.of([sign * 0.02, sign * 0.021, sign * 0.022]), Rule("equivalence", 0, 0.01)
    assert rule.verdict(effect, rule.p(effect)) == "contradicted"
    assert rule.verdict(Effect.of([sign * 0.001, 0.0, 0.0]), 0.001) == "reproduced"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("verdict", "values"), [(key, each) for key, cases in NON_INFERIOR.items() for each in cases])
def test_non_inferiority_is_the_same_on_either_side(verdict, values, sign):
    rule, effect = Rule("non-inferiority", sign, 0.01), Effect.of([sign * value for value in values])
    assert rule.verdict(effect, rule.p(effect)) == verdict
