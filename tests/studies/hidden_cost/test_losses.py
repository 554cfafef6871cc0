"""Where losses begin: planted curves cross where they were planted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from studies.hidden_cost import losses
from studies.hidden_cost.evidence import Evidence

SPARSITIES = (0.5, 0.8, 0.9)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_a_line_in_the_logarithm_of_what_is_left_crosses_where_it_should(loss):
    changes = [0.03 * np.log(1 - sparsity) for sparsity in SPARSITIES]  # −0.069 at 90 %
    assert losses.first_at(SPARSITIES, changes, loss) == pytest.approx(1 - np.exp(-loss / 0.03))
    assert losses.first_at(SPARSITIES[::-1], changes[::-1], loss) == pytest.approx(1 - np.exp(-loss / 0.03))


def test_a_gain_first_and_no_loss_at_all():
    assert losses.first_at((0.5, 0.9), (0.02, -0.02), 0.02) == pytest.approx(0.9)
    assert losses.first_at((0.5, 0.9), (0.02, 0.0), 0.01) == np.inf


def report(slopes, upstream: float = 0.01) -> SimpleNamespace:
    """Networks whose accuracy falls by their slope, and upstream by another, in the logarithm of what is left."""
    names = {"dense": 0.0, **{f"imp-{sparsity:.2f}": sparsity for sparsity in SPARSITIES}}
    rows, backbones = [], []
    for network, slope in enumerate(slopes):
        for name, sparsity in names.items():
            same = {"backbone": "cnn", "source_seed": network, "compression": name}
            backbones.append(same | {"upstream_accuracy": 0.9 + upstream * np.log(1 - sparsity), "admitted": True})
            for seed, moved in enumerate((-0.1, 0.1)):
                row = same | {"target": "digits", "method": "linear_probe", "budget": "all", "seed": seed}
                rows.append(row | {"status": "ok", "accuracy": 0.7 + slope * np.log(1 - sparsity) + moved})
    runs = pd.DataFrame(rows)
    return SimpleNamespace(runs=runs, evidence=Evidence(runs, pd.DataFrame(backbones), {}))


def test_the_table_has_medians_over_networks_and_who_lost_first():
    upstream, probe = losses.table(report([0.02, 0.03, 0.005])).to_dict("records")
    assert upstream["method"] == "upstream" and upstream["lost 1 point at"].startswith("63 %")
    assert upstream["lost 5 points at"] == "> 90 % [> 90, > 90]"
    assert probe["lost 1 point at"] == "39 % [28, 86]"
    assert probe["networks that lose 2 points before upstream does"] == "2 of 3"


def test_without_evidence_or_sparsities_the_table_is_empty():
    assert losses.table(SimpleNamespace(evidence=None)).empty
    made = report([0.02])
    made.evidence = Evidence(made.runs[made.runs["compression"] == "dense"], made.evidence.backbones, {})
    assert losses.table(made).empty
