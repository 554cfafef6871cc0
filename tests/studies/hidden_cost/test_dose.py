"""Lines of dose and response: what was planted is found, collapsed networks stay out, null controls set the margin."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from texts import faults

from studies.claims import ledger
from studies.hidden_cost import dose, dose_figure
from studies.hidden_cost.claims import CLAIMS
from studies.hidden_cost.evidence import Evidence

UPSTREAM = {
    "dense": 1.0, "dense_distilled": 0.9, "reconstructed-0.50": 0.8, "reconstructed-0.60": 0.7,
    "reconstructed-0.70": 0.6, "magnitude-0.70": 0.02, "w8a8": 0.98, "w4a8": 0.9, "int4-gptq": 0.95, "int3": 0.85,
}  # fmt: skip
HEIGHT = {"visual_prompting": -0.06, "linear_probe": -0.01, "mapping_only": -0.03}
SLOPE = {"visual_prompting": 0.5, "linear_probe": 0.2, "mapping_only": 0.8}
NETWORKS = ("lite0", "lite1", "lite2", "mobilenet")


def planted(noise: float = 0.0, seeds: int = 2, null: float = 0.0, height=HEIGHT, networks=NETWORKS) -> Evidence:
    """Changes on a line, each network's moved by `noise`; null controls change accuracy by ±`null`, in turn."""
    draw, rows, backbones = np.random.default_rng(0), [], []
    for n, network in enumerate(networks):
        moved = draw.normal(0, noise) if noise else 0.0
        for name, agreement in UPSTREAM.items():
            control = dose.is_null(dose.parse(name))
            backbones.append({"backbone": network, "source_seed": 0, "compression": name})
            backbones[-1] |= {"upstream_accuracy": agreement, "admitted": agreement > 0.5}
            for method in HEIGHT:
                change = 0.0 if name == "dense" else height[method] + SLOPE[method] * (agreement - 1) + moved
                if control:
                    change = null * (-1) ** n * (method == "visual_prompting")
                if agreement < 0.5:
                    change = 0.3  # collapsed, so whatever it says must not count
                for target in ("cifar10", "gtsrb"):
                    for seed in range(seeds):
                        row = {"backbone": network, "source_seed": 0, "seed": seed, "target": target, "budget": "10"}
                        row |= {"method": method, "compression": name, "status": "ok"}
                        rows.append(row | dict.fromkeys(("accuracy", "nll_scaled", "ece_debiased"), 0.7 + change))
    facts = {(network, target): {"pictures": {"test": 600}} for network in networks for target in ("cifar10", "gtsrb")}
    return Evidence(pd.DataFrame(rows), pd.DataFrame(backbones), facts)


def test_heights_and_slopes_are_those_that_were_planted():
    for method in HEIGHT:
        of = dose.lines_of(planted(), "accuracy", method, "sparsity")
        assert of["height"].to_numpy() == pytest.approx(HEIGHT[method])
        assert of["slope"].to_numpy() == pytest.approx(SLOPE[method])
        assert len(of) == len(NETWORKS) * 2 * 2  # a line a run


@pytest.mark.filterwarnings("ignore:The MLE may be on the boundary")
def test_the_mean_line_is_that_of_a_mixed_model():
    """Statsmodels' fixed effects, where all networks have the same compressions."""
    found = planted(noise=0.02)
    tables = [dose.points(found, "accuracy", name, lambda each: bool(each.sparsity)).assign(m=name) for name in HEIGHT]
    noisy = pd.concat(tables, ignore_index=True)
    noisy["value"] += np.random.default_rng(1).normal(0, 0.01, len(noisy))
    model = smf.mixedlm("value ~ 0 + m + m:upstream", noisy.astype({"upstream": float}), groups="backbone").fit()
    for name, of in noisy.groupby("m"):
        mean = dose.lines(of)[["height", "slope"]].mean()
        assert mean["height"] == pytest.approx(model.fe_params[f"m[{name}]"], abs=1e-4)
        assert mean["slope"] == pytest.approx(model.fe_params[f"m[{name}]:upstream"], abs=1e-4)


def test_collapsed_networks_and_null_controls():
    found = planted(null=0.04)
    points = dose.points(found, "accuracy", "visual_prompting", lambda each: bool(each.sparsity))
    assert set(points["compression"]) == {"reconstructed-0.50", "reconstructed-0.60", "reconstructed-0.70"}
    nulls = dose.nulls(found, "accuracy", "visual_prompting")
    assert set(nulls["compression"]) == {"dense_distilled", "w8a8", dose.NULL}
    assert set(nulls.loc[nulls["compression"] == dose.NULL, "value"]) == {0.0}
    # of three controls on each network two change 0.04, dense with other seeds nothing
    assert dose.margin(found, "accuracy", "visual_prompting") == pytest.approx(2 * 0.04 * (2 / 3) ** 0.5)
    assert dose.margin(found, "accuracy", "linear_probe") == pytest.approx(0.0)
    one_seed = planted(seeds=1)
    assert dose.NULL not in set(dose.nulls(one_seed, "accuracy", "visual_prompting")["compression"])


def test_one_compression_makes_no_line():
    found = planted()
    few = found.runs[~found.runs["compression"].isin(["reconstructed-0.60", "reconstructed-0.70"])]
    assert dose.lines_of(replace(found, runs=few), "accuracy", "visual_prompting", "sparsity").empty


def test_the_dose_is_accuracy_where_labels_are_at_hand():
    """Half as much accuracy is lost as agreement, so slopes are twice as steep; the others keep agreement."""
    found = planted()
    labelled = 0.7 - 0.5 * (1 - found.backbones["upstream_accuracy"])
    labelled = labelled.where(found.backbones["backbone"] != "lite0")
    found = replace(found, backbones=found.backbones.assign(labelled_accuracy=labelled))
    slopes = dose.lines_of(found, "accuracy", "visual_prompting", "sparsity")["slope"].groupby("backbone").mean()
    assert slopes["lite0"] == pytest.approx(0.5) and slopes["lite1"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("height", "null", "verdict"),
    [
        (-0.06, 0.0, "reproduced"),  # 0.05 below the probe's
        (-0.06, 0.04, "inconclusive"),  # as far as null controls reach
        (-0.01, 0.04, "contradicted"),  # no more than the probe's; the margin of null controls rejects nothing
    ],
)
def test_the_claim_on_the_hidden_cost(height, null, verdict):
    found = planted(null=null, height=HEIGHT | {"visual_prompting": height})
    shaken = np.random.default_rng(0).normal(0, 0.004, len(NETWORKS))[found.runs["backbone"].map(NETWORKS.index)]
    prompts = (found.runs["method"] == "visual_prompting") & (found.runs["compression"] != "dense")
    runs = found.runs.assign(accuracy=found.runs["accuracy"] + shaken * prompts)
    (entry,) = ledger.assess({"hidden_cost": (CLAIMS[-1:], replace(found, runs=runs))})
    assert entry["id"] == "H9" and entry["networks"] == len(NETWORKS)
    assert entry["reading"] == verdict, entry["reason"]
    labels = [each["label"] for each in entry["beside"]]
    assert labels[0].startswith("quantization") and f"{dose.NULL} (control)" in labels


def test_the_figure_of_several_networks_and_its_table():
    found = planted(noise=0.01)
    report = SimpleNamespace(evidence=found, runs=found.runs)
    drawn = dose_figure.dose_response(report, found.runs)
    assert not faults(drawn.figure)
    assert "visual prompt -0.0" in drawn.sentence
    table = dose_figure.table(report)
    assert set(table["networks"]) == {len(NETWORKS)} and len(table) == 2 * 3 * len(HEIGHT)
    with pytest.raises(ValueError, match="upstream"):
        dose_figure.table(SimpleNamespace(evidence=None, runs=found.runs, responds={}))
    deaf = SimpleNamespace(evidence=None, runs=found.runs, responds={"cifar10": False})  # no target responds
    assert dose_figure.dose_response(deaf, found.runs) is None and dose_figure.table(deaf).empty
