"""Quantized visual prompts: borders, what they store, effects and their words, parameters."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from studies.across import effects as across
from studies.across import figures
from studies.across.settings import Codebook
from studies.claims.verdict import Effect
from studies.parameters import read, validate
from vpstudy import paths
from vpstudy.prompts import codebook
from vpstudy.settings import ParameterError


def frame(losses: dict[str, float], noise: float = 0.001, seeds: int = 5) -> pd.DataFrame:
    """Runs in which one bit costs `losses[compression]`, and eight bits nothing."""
    draw = np.random.default_rng(0)
    rows = []
    for compression, loss in losses.items():
        for seed in range(seeds):
            base = 0.7 + 0.05 * seed
            for arm, book, bits, change in (
                ("full", None, 32, 0),
                ("ptq", "clustered", 8, noise * draw.normal()),
                ("ptq", "clustered", 1, loss + noise * draw.normal()),
            ):
                row = {"backbone": "cnn", "compression": compression, "source_seed": 0, "seed": seed}
                row |= {"target": "digits", "arm": arm, "codebook": book, "bits": bits, "status": "ok"}
                rows.append(row | {"accuracy": base + change})
    return pd.DataFrame(rows)


def said(table, compression, bits):
    return table[(table["compression"] == compression) & (table["bits"] == bits)].iloc[0]


def test_effects_are_paired_and_say_what_they_show():
    runs = frame({"dense": -0.05, "int4": -0.05, "imp-0.95": -0.15})
    changes = across.changes(runs, "accuracy")
    table = across.effects(changes)
    one = said(table, "imp-0.95", 1)
    assert one["mean"] == pytest.approx(-0.15, abs=0.002) and one["words"] == "lower" and one["n"] == 5
    assert said(table, "dense", 8)["words"] == "within ±0.01"
    assert across.fewest_bits(table[table["compression"] == "dense"], "clustered") == 8
    against = across.effects(across.interactions(changes))
    assert set(against["compression"]) == {"int4", "imp-0.95"}
    assert said(against, "imp-0.95", 1)["mean"] == pytest.approx(-0.10, abs=0.002)
    assert said(against, "imp-0.95", 1)["words"] == "lower"
    assert said(against, "int4", 1)["words"] == "within ±0.01"
    by_hand = changes[(changes["compression"] == "int4") & (changes["bits"] == 1)].set_index("seed")["value"]
    dense = changes[(changes["compression"] == "dense") & (changes["bits"] == 1)].set_index("seed")["value"]
    assert said(against, "int4", 1)["mean"] == pytest.approx((by_hand - dense).mean())


def test_noise_is_not_resolved_and_one_seed_has_no_interval():
    table = across.effects(across.changes(frame({"dense": 0.0}, noise=0.05), "accuracy"))
    assert set(table["words"]) == {"not resolved"}
    assert across.fewest_bits(table, "clustered") is None
    table = across.effects(across.changes(frame({"dense": -0.3}, seeds=1), "accuracy"))
    assert set(table["words"]) == {"no interval from one replicate"}


def test_runs_that_diverged_are_counted_and_left_out():
    runs = frame({"dense": -0.05})
    lost = (runs["seed"] == 0) & (runs["arm"] == "full")
    runs.loc[lost, "status"], runs.loc[lost, "accuracy"] = "diverged", np.nan
    one = said(across.effects(across.changes(runs, "accuracy")), "dense", 1)
    assert (one["n"], one["n_diverged"], one["replicates"]) == (4, 1, 4)


def test_sequences_end_where_they_first_fail():
    none, low = Effect.of([0.0, 0.001, -0.001, 0.0005, 0.0]), Effect.of([-0.2, -0.21, -0.19, -0.2, -0.2])
    noise = Effect.of([-0.2, 0.2, 0.1, -0.1, 0.03])
    assert across.words([none, none, low, low], [8, 4, 2, 1]) == ["within ±0.01"] * 2 + ["lower"] * 2
    assert across.words([none, noise, none, low], [8, 4, 2, 1]) == ["within ±0.01", *["not resolved"] * 2, "lower"]
    assert across.words([low, low, noise], [8, 4, 1]) == ["not resolved"] * 3
    assert across.words([low, none, none], [1, 4, 8]) == ["lower", "within ±0.01", "within ±0.01"]


def test_hardly_any_change_is_neither_lower_nor_higher_and_equal_replicates_decide_nothing():
    small, same = Effect.of([-1e-4, 1e-4, 0.0, 2e-4, -2e-4]), Effect.of([0.0] * 5)
    assert across.words([small, small], [8, 1]) == ["within ±0.01"] * 2
    assert across.words([same, same], [8, 1]) == ["not resolved"] * 2
    runs = frame({"dense": 0.0}, noise=0.0)
    assert set(across.effects(across.changes(runs, "accuracy"))["words"]) == {"not resolved"}


def test_false_findings_are_as_rare_as_said():
    draw = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        seeds = draw.normal(0, 0.01, (3, 5))
        said = across.words([Effect.of(values) for values in seeds], [8, 4, 1])
        wrong += any("lower" in each or "higher" in each for each in said)
    assert wrong / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_a_dependence_that_is_the_learning_rate_s_is_gone_at_one_rate():
    cost = {0.1: -0.10, 0.03: -0.03}  # of one bit, whatever the backbone
    chosen = {"dense": 0.1, "int4": 0.03}
    draw = np.random.default_rng(1)
    frames = [
        frame({name: loss}).assign(
            learning_rate=rate,
            accuracy=lambda table: table["accuracy"] + draw.normal(0, 1e-4, len(table)),
            ece_debiased=lambda table: draw.normal(0, 1e-4, len(table)),
        )
        for name in chosen
        for rate, loss in cost.items()
    ]
    every = pd.concat(frames)
    other = every["learning_rate"] != every["compression"].map(chosen)
    every = every.assign(arm=every["arm"] + other.map({True: across.OTHER, False: ""}))
    table = across.table(every, "clustered")
    assert set(table["metric"]) == {"accuracy", "debiased ECE"}
    accuracy = table[table["metric"] == "accuracy"]
    assert said(accuracy[accuracy["comparison"] == across.DEPENDENCE], "int4", 1)["words"] == "higher"
    at_one_rate = table[table["comparison"].str.contains("learning rate")]
    assert len(at_one_rate) == 2 * 2 * 2 and set(at_one_rate["words"]) == {"within ±0.01"}


def test_no_arm_is_left_out_of_the_figure_by_bits():
    runs = frame({"dense": -0.05, "int4": -0.2}).assign(ece_debiased=0.0)
    top, bottom = figures.draw_by_bits(runs).axes
    assert top.get_title() == "after training, k-means"
    drawn = np.concatenate([line.get_ydata() for line in top.lines])
    means = runs.groupby(["compression", "bits"])["accuracy"].mean()
    assert {round(value, 6) for value in means} <= {round(value, 6) for value in drawn}
    assert [tick.get_text() for tick in bottom.get_xticklabels()] == ["32", "8", "1", "–"]


CASES = {
    "too many bits": ({"bits": [9]}, "across.settings.bits.0: 9"),
    "no bits": ({"trained_bits": [0]}, "across.settings.trained_bits.0: 0"),
    "an unknown codebook": (
        {"codebooks": ["clusterd"]},
        "across.settings.codebooks.0: 'clusterd': should be 'clustered', 'uniform' or 'random'",
    ),
    "no dense backbone": ({"compressions": ["int4"]}, "compressions: 'dense' is missing"),
    "a compression that is not made": (
        {"compressions": ["dense", "int7"]},
        "across.axes.compressions: 'int7' is not in compressions; allowed: dense, imp-0.80",
    ),
    "a backbone that is not compressed": ({"backbones": ["vit"]}, "across.axes.backbones: 'vit' is not in backbones"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_values_are_refused_before_any_work(name):
    change, told = CASES[name]
    content = read(paths.SCALES / "default/params.yaml")
    for key, value in change.items():
        content["across"]["axes" if key in content["across"]["axes"] else "settings"][key] = value
    with pytest.raises(ParameterError) as error:
        validate(content, "params.yaml")
    assert told in str(error.value) and "nothing was run" in str(error.value)


def test_parameters_allow_what_codebooks_can():
    assert get_args(Codebook) == codebook.SCHEMES
    content = read(paths.SCALES / "default/params.yaml")
    content["across"]["settings"]["bits"] = list(range(1, codebook.MOST_BITS + 1))
    validate(content, "params.yaml")


def test_prompts_that_are_no_borders_are_refused():
    content = read(paths.SCALES / "default/params.yaml")
    content["hidden_cost"]["settings"]["visual_prompting"]["prompt"] = "full"
    with pytest.raises(
        ParameterError, match=r"hidden_cost\.settings\.visual_prompting\.prompt: 'full': the study across quantizes"
    ):
        validate(content, "params.yaml")
