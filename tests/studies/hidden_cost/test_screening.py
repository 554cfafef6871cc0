"""Screening: planted responses to noise decide which targets claims are judged on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from texts import faults

from studies import results
from studies.hidden_cost import evidence as of_evidence
from studies.hidden_cost import screening
from studies.hidden_cost.settings import Admission, Screening

# accuracy of the probe, dense and at three levels of noise
PLANTED = {"falls": (0.9, 0.88, 0.84, 0.7), "stays": (0.9, 0.89, 0.88, 0.87), "rises": (0.6, 0.5, 0.52, 0.4)}
LEVELS = ("dense", "noise-0.30", "noise-0.60", "noise-0.90")


def runs(levels=LEVELS, networks: int = 3) -> pd.DataFrame:
    """Two seeds of each network around the planted accuracy, and prompts on dense alone."""
    rows = []
    for target, planted in PLANTED.items():
        for name, accuracy in zip(LEVELS, planted, strict=True):
            for network in range(networks):
                for seed, moved in enumerate((-0.01, 0.01)):
                    row = {"backbone": "cnn", "source_seed": network, "target": target, "seed": seed, "status": "ok"}
                    row |= {"compression": name, "budget": "all", "accuracy": accuracy + moved + 0.01 * (network - 1)}
                    rows.append(row | {"method": "linear_probe"})
                    rows.append(row | {"method": "linear_probe", "budget": "10", "accuracy": 0.1})
                    rows.append(row | {"method": "visual_prompting", "accuracy": 0.2})
    table = pd.DataFrame(rows)
    usual = (table["method"] == "linear_probe") & (table["budget"] == "all")
    return table[(usual | (table["compression"] == "dense")) & table["compression"].isin(levels)]


def test_a_target_responds_where_its_probe_falls_at_every_step_and_far_enough():
    assert screening.responds(runs(), 0.05) == {"falls": True, "stays": False, "rises": False}
    assert screening.responds(runs(), 0.02)["stays"] and not screening.responds(runs(), 0.3)["falls"]


def test_without_noise_nothing_is_screened():
    assert screening.responds(runs(levels=("dense",)), 0.05) == {}


def test_targets_without_noise_are_not_screened():
    some = runs()
    some = some[(some["target"] == "falls") | (some["compression"] == "dense")]
    assert screening.responds(some, 0.05) == {"falls": True}


def test_a_network_that_lost_a_level_is_left_out_and_a_missing_level_gives_no_pass():
    some, weakest = runs(), (lambda table: (table["source_seed"] == 0) & (table["compression"] == "noise-0.30"))
    some.loc[some["source_seed"] == 0, "accuracy"] -= 0.2  # without it at one level, that level's mean would rise
    some.loc[weakest(some), "status"] = "diverged"
    assert screening.responds(some, 0.05)["falls"]
    no_dense = runs()
    assert not any(screening.responds(no_dense[no_dense["compression"] != "dense"], 0.05).values())


def test_a_target_whose_probes_all_diverged_does_not_respond():
    lost = runs().assign(status=lambda table: np.where(table["target"] == "falls", "diverged", "ok"))
    assert screening.responds(lost, 0.05)["falls"] is False


def test_claims_see_targets_that_respond_and_no_noise(monkeypatch):
    compressed = [
        {"backbone": "cnn", "source_seed": n, "compression": name, "accuracy": 0.9} for n in range(3) for name in LEVELS
    ]
    monkeypatch.setattr(results, "read", lambda _: SimpleNamespace(frame=pd.DataFrame(compressed)))
    monkeypatch.setattr(of_evidence.grid, "cells", lambda *_: [])
    section = SimpleNamespace(screening=Screening(fall=0.05), admission=Admission(share_of_dense=0.5, floor=0.1))
    parameters = SimpleNamespace(hidden_cost=section)
    found = of_evidence.evidence(parameters, SimpleNamespace(frame=runs(), contents=[]))
    assert set(found.runs["target"]) == {"falls"} and set(found.runs["compression"]) == {"dense"}
    assert set(found.backbones["compression"]) == {"dense"}
    none = of_evidence.evidence(parameters, SimpleNamespace(frame=runs()[runs()["target"] != "falls"], contents=[]))
    assert none is None
    section.screening = Screening(fall=0)
    found = of_evidence.evidence(parameters, SimpleNamespace(frame=runs(), contents=[]))
    assert set(found.runs["target"]) == set(PLANTED)


@pytest.mark.parametrize("networks", [1, 3])
def test_the_figure_says_which_targets_respond(networks):
    section = SimpleNamespace(screening=Screening(fall=0.05))
    made = runs(networks=networks)
    report = SimpleNamespace(parameters=SimpleNamespace(hidden_cost=section), noisy=made)
    report.responds = screening.responds(made, 0.05)
    drawn = screening.draw(report, made)
    assert not faults(drawn.figure)
    assert "falls responds" in drawn.sentence and "stays does not respond" in drawn.sentence
    report.responds = {}
    assert screening.draw(report, made) is None
