"""Where losses begin: planted curves cross where they were planted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from studies.hidden_cost import losses
from studies.hidden_cost.evidence import Evidence

SPARSITIES = (0.3, 0.5, 0.8, 0.9)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_a_line_in_the_logarithm_of_what_is_left_crosses_where_it_should(loss):
    changes = [0.022 * np.log(1 - sparsity) for sparsity in SPARSITIES]  # −0.008 at 30 %, −0.051 at 90 %
    assert losses.first_at(SPARSITIES, changes, loss) == pytest.approx(1 - np.exp(-loss / 0.022))
    assert losses.first_at(SPARSITIES[::-1], changes[::-1], loss) == pytest.approx(1 - np.exp(-loss / 0.022))


def test_a_gain_first_no_loss_at_all_and_a_loss_from_the_start():
    assert losses.first_at((0.5, 0.9), (0.02, -0.02), 0.02) == pytest.approx(0.9)
    assert losses.first_at((0.5, 0.9), (0.02, 0.0), 0.01) == np.inf
    assert losses.first_at((0.5, 0.9), (-0.03, -0.04), 0.02) == 0


def report(slopes, upstream: float = 0.02, dense: float = 0.7) -> SimpleNamespace:
    """Networks whose accuracy falls by their slope, and upstream by another, in the logarithm of what is left."""
    names = {"dense": 0.0, **{f"imp-{sparsity:.2f}": sparsity for sparsity in SPARSITIES}}
    rows, backbones = [], []
    for network, slope in enumerate(slopes):
        for name, sparsity in names.items():
            same = {"backbone": "cnn", "source_seed": network, "compression": name}
            backbones.append(same | {"upstream_accuracy": 0.9 + upstream * np.log(1 - sparsity), "admitted": True})
            for seed, moved in enumerate((-0.1, 0.1)):
                row = same | {"target": "digits", "budget": "all", "seed": seed, "status": "ok"}
                rows.append(row | {"method": "mapping_only", "accuracy": 0.5 + moved})
                accuracy = dense + slope * np.log(1 - sparsity) + moved
                rows.append(row | {"method": "linear_probe", "accuracy": accuracy})
                rows.append(row | {"method": "linear_probe", "accuracy": 0.2, "budget": "10"})
                if name in ("dense", "imp-0.90"):  # at one sparsity alone there is no curve
                    rows.append(row | {"method": "fine_tuning", "accuracy": 0.8 - sparsity})
    runs = pd.DataFrame(rows)
    return SimpleNamespace(runs=runs, evidence=Evidence(runs, pd.DataFrame(backbones), {}), responds={})


def test_the_table_has_medians_over_networks_and_who_lost_first():
    mapping, probe = losses.table(report([0.022, 0.025, 0.005])).to_dict("records")
    assert mapping["lost 1 point"] == "> 90 % [> 90, > 90]" and mapping["lose 2 points before upstream"] == "0 of 3"
    assert probe["lost 1 point"] == "37 % [33, 86]" and probe["lost 1 point, upstream"] == "39 % [39, 39]"
    assert probe["lost 5 points"] == "90 % [86, > 90]"
    assert probe["lose 2 points before upstream"] == "2 of 3"


def test_a_loss_below_the_first_sparsity_is_not_guessed():
    probe = losses.table(report([0.3])).to_dict("records")[1]
    assert probe["lost 1 point"] == probe["lost 5 points"] == "< 30 % [< 30, < 30]"


def test_networks_that_are_dead_when_dense_stay_out_and_so_do_those_not_admitted():
    dead = report([0.022], dense=0.3)  # below its label mapping
    assert "linear probe" not in set(losses.table(dead)["method"])
    made = report([0.022, 0.3])
    backbones = made.evidence.backbones
    made.evidence = Evidence(made.runs, backbones.assign(admitted=backbones["source_seed"] == 0), {})
    assert losses.table(made)["lose 2 points before upstream"].str.endswith("of 1").all()


def test_without_evidence_or_sparsities_the_table_is_empty():
    deaf = SimpleNamespace(evidence=None, responds={"digits": False})
    assert losses.table(deaf).empty
    made = report([0.022])
    made.evidence = Evidence(made.runs[made.runs["compression"] == "dense"], made.evidence.backbones, {})
    assert losses.table(made).empty
