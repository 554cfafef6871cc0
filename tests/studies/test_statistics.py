from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from studies.statistics import against_dense, mean_interval, pooled, summarise

VALUES = [0.81, 0.84, 0.79, 0.88]


def runs(compression: str, accuracies: list[float | None], **of_cell) -> list[dict]:
    """One row a seed; None is a diverged run."""
    cell = {
        "backbone": "cnn",
        "source_seed": 0,
        "target": "digits",
        "method": "visual_prompting",
        "budget": "10",
    } | of_cell
    return [
        cell
        | {"compression": compression, "seed": seed, "status": "diverged" if value is None else "ok"}
        | {"accuracy": np.nan if value is None else value}
        for seed, value in enumerate(accuracies)
    ]


def test_mean_interval_is_that_of_the_t_test():
    oracle = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    interval = mean_interval(VALUES)
    assert interval.mean == pytest.approx(np.mean(VALUES))
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high))
    assert interval.n == 4


def test_mean_interval_of_few_values():
    mean, low, high, n = mean_interval([0.7])
    assert (mean, n) == (0.7, 1)
    assert np.isnan([low, high]).all()
    assert np.isnan(mean_interval([]).mean)
    assert mean_interval([]).n == 0
    assert mean_interval([0.7, 0.7, 0.7])[:3] == pytest.approx((0.7, 0.7, 0.7))


@pytest.mark.parametrize("values", [[0.5, np.nan], [0.5, np.inf], [[0.5, 0.6]]])
def test_mean_interval_rejects_what_is_no_list_of_numbers(values):
    with pytest.raises(ValueError, match="finite and one-dimensional"):
        mean_interval(values)


def test_interval_holds_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.6, 0.1, (1000, 3))
    held = [low <= 0.6 <= high for _, low, high, _ in map(mean_interval, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_summarise_counts_diverged_runs_and_keeps_the_order():
    frame = pd.DataFrame(runs("int2", [0.5, None, 0.7]) + runs("dense", [0.9, 0.9, 0.9]) + runs("int4", [None, None]))
    table = summarise(frame, ["compression", "budget"], "accuracy").set_index("compression")
    assert list(table.index) == ["int2", "dense", "int4"]
    assert table["mean"].to_list()[:2] == pytest.approx([0.6, 0.9])
    assert table["n"].to_list() == [2, 3, 0]
    assert table["n_diverged"].to_list() == [1, 0, 2]
    assert np.isnan(table.loc["int4", ["mean", "low", "high"]].astype(float)).all()


def test_a_group_is_admitted_if_all_its_networks_are():
    frame = pd.DataFrame(runs("int2", [0.5, 0.7]) + runs("dense", [0.9, 0.9])).assign(
        admitted=[True, False, True, True]
    )
    assert summarise(frame, ["compression"], "accuracy")["admitted"].to_list() == [False, True]


def test_seeds_of_one_source_checkpoint_are_a_cluster():
    """The interval over checkpoints is that of a t test on their means, however alike their seeds are."""
    values = {0: [0.80, 0.81, 0.80], 1: [0.70, 0.71, 0.71], 2: [0.90, 0.90, 0.91]}
    rows = [row for source, accuracies in values.items() for row in runs("int4", accuracies, source_seed=source)]
    row = summarise(pd.DataFrame(rows), ["compression"], "accuracy").iloc[0]
    oracle = stats.ttest_1samp([np.mean(v) for v in values.values()], 0).confidence_interval(0.95)
    assert (row["low"], row["high"], row["n"]) == (pytest.approx(oracle.low), pytest.approx(oracle.high), 9)


def test_against_dense_pairs_within_a_source_checkpoint():
    rows = [
        row
        for source, shift in ((0, 0.0), (1, 0.3))
        for name, value in (("dense", 0.5), ("int4", 0.4))
        for row in runs(name, [value + shift], source_seed=source)
    ]
    assert against_dense(pd.DataFrame(rows), "accuracy")["difference"].to_list() == pytest.approx([-0.1, -0.1])


def test_summarise_does_not_hide_a_missing_metric_of_a_finished_run():
    frame = pd.DataFrame(runs("dense", [0.9, 0.8])).assign(accuracy=[0.9, np.nan])
    with pytest.raises(ValueError, match="finite"):
        summarise(frame, ["compression"], "accuracy")


def test_against_dense_pairs_by_seed_whatever_the_order():
    frame = pd.DataFrame(runs("dense", [0.9, 0.7, 0.8]) + runs("int4", [0.8, 0.6, 0.7]))
    table = against_dense(frame.sample(frac=1, random_state=0), "accuracy")
    assert table["difference"].to_list() == pytest.approx([-0.1] * 3)
    change = summarise(table, ["compression"], "difference").iloc[0]
    assert (change["low"], change["high"]) == pytest.approx((-0.1, -0.1))  # unpaired, it would be wide


def test_against_dense_keeps_to_target_method_and_budget():
    cells = product(["1", "10"], ["digits", "faces"], ["visual_prompting", "linear_probe"])
    rows = []
    for i, (budget, target, method) in enumerate(cells):
        of_cell = {"budget": budget, "target": target, "method": method}
        rows += runs("dense", [0.2 + i / 10], **of_cell) + runs("imp-0.90", [0.15 + i / 10], **of_cell)
    frame = pd.DataFrame(rows)
    table = against_dense(frame, "accuracy")
    assert len(table) == 8
    assert table["difference"].to_numpy() == pytest.approx(np.full(8, -0.05))


def test_against_dense_says_where_either_run_diverged():
    frame = pd.DataFrame(runs("dense", [0.9, None, 0.8]) + runs("int4", [0.8, 0.6, None]))
    table = against_dense(frame, "accuracy").set_index("seed")
    assert table["status"].to_list() == ["ok", "diverged", "diverged"]
    assert table["difference"].isna().to_list() == [False, True, True]
    assert summarise(table, ["compression"], "difference")[["n", "n_diverged"]].to_numpy().tolist() == [[1, 2]]


def test_what_was_trained_on_is_compared_with_dense_trained_on():
    """On made-up values: training on gains 0.2, the compression loses 0.05 of that."""
    made = {"dense": 0.5, "dense_tuned": 0.7, "w4a4": 0.4, "w4a4-lsq": 0.65, "magnitude_tuned-0.50": 0.65}
    frame = pd.DataFrame([row for name, value in made.items() for row in runs(name, [value])])
    found = against_dense(frame, "accuracy").set_index("compression")["difference"]
    assert found.round(9).to_dict() == {
        "dense_tuned": 0.2,
        "w4a4": -0.1,
        "w4a4-lsq": -0.05,
        "magnitude_tuned-0.50": -0.05,
    }
    with pytest.raises(ValueError, match=r"run the compression `control`[^$]*dense_tuned"):
        against_dense(frame[frame["compression"] != "dense_tuned"], "accuracy")


def test_against_dense_needs_exactly_one_dense_run():
    with pytest.raises(ValueError, match="no dense run"):
        against_dense(pd.DataFrame(runs("dense", [0.9]) + runs("int4", [0.8, 0.6])), "accuracy")
    with pytest.raises(ValueError, match="not a many-to-one"):
        against_dense(pd.DataFrame(runs("dense", [0.9]) * 2 + runs("int4", [0.8])), "accuracy")


def test_networks_that_are_the_only_one_of_their_backbone_are_replicates():
    runs = pd.DataFrame({"backbone": ["a", "a", "b", "b"], "source_seed": 0, "seed": [0, 1] * 2, "status": "ok"})
    runs["accuracy"] = [0.1, 0.3, 0.5, 0.7]
    together = pooled(runs)
    assert set(together["backbone"]) == {"a, b"} and list(together["source_seed"]) == ["a", "a", "b", "b"]
    (row,) = summarise(together, ["backbone"], "accuracy").itertuples()
    expected = mean_interval([0.2, 0.6])
    assert (row.mean, row.low, row.high) == pytest.approx((expected.mean, expected.low, expected.high))
    for alone in (runs[runs["backbone"] == "a"], runs.assign(source_seed=[0, 1, 0, 1])):
        assert pooled(alone) is alone
