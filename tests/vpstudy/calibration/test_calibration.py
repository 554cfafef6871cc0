"""Calibration measures: hand-made cases, other libraries, plain loops, data of known calibration."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from vpstudy.calibration.metrics import (
    brier_decomposition,
    brier_score,
    classwise_ece,
    debiased_ece,
    equal_mass_ece,
    expected_calibration_error,
    negative_log_likelihood,
    over_and_underconfidence,
    reliability_bins,
    summary,
)

MEASURES = (
    expected_calibration_error,
    debiased_ece,
    equal_mass_ece,
    negative_log_likelihood,
    brier_score,
    classwise_ece,
    over_and_underconfidence,
    brier_decomposition,
    reliability_bins,
    summary,
)
BINNED = (
    expected_calibration_error,
    debiased_ece,
    equal_mass_ece,
    classwise_ece,
    over_and_underconfidence,
    brier_decomposition,
    reliability_bins,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def draw(rng: np.random.Generator, count: int, sharpness: float = 1.0, classes: int = 10):
    """Reported probabilities, labels and true probabilities; calibrated by construction at sharpness 1."""
    logits = rng.normal(0.0, 2.0, (count, classes))
    true = softmax(logits)
    labels = (true.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=classes - 1)
    return softmax(sharpness * logits), labels, true


def two_class(confidence: list[float], correct: list[int]):
    confidence = np.array(confidence)
    return np.stack([confidence, 1 - confidence], axis=1), 1 - np.array(correct)


def naive_bins(probabilities, labels, n_bins):
    """(count, mean confidence, accuracy) a bin, by the definition."""
    bins = []
    for b in range(n_bins):
        inside = [
            (max(p), float(np.argmax(p) == y))
            for p, y in zip(probabilities, labels, strict=True)
            if b / n_bins < max(p) <= (b + 1) / n_bins
        ]
        means = np.mean(inside, axis=0) if inside else (math.nan, math.nan)
        bins.append((len(inside), *means))
    return bins


# --- the plain measures
def test_ece_by_hand():
    # bin (0.6, 0.8]: confidences 0.7 and 0.8, one of two correct; bin (0.8, 1]: 0.9 wrong
    probabilities, labels = two_class([0.7, 0.8, 0.9], [1, 0, 0])
    assert expected_calibration_error(probabilities, labels, 5) == pytest.approx((2 * 0.25 + 0.9) / 3)


def test_confidence_of_exactly_one_is_in_the_last_bin():
    probabilities, labels = two_class([1.0, 1.0, 0.95], [1, 0, 1])
    bins = reliability_bins(probabilities, labels)
    assert bins.count.tolist() == [0] * 14 + [3]
    assert expected_calibration_error(probabilities, labels) == pytest.approx(2.95 / 3 - 2 / 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confidence_on_an_edge_is_in_the_bin_below(dtype):
    probabilities, labels = two_class([9 / 15, 0.8, 14 / 15], [1, 1, 1])
    bins = reliability_bins(probabilities.astype(dtype), labels)
    assert np.flatnonzero(bins.count).tolist() == [8, 11, 13]


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_ece_agrees_with_torchmetrics(n_bins):
    probabilities, labels, _ = draw(np.random.default_rng(0), 500, sharpness=1.5)
    assert probabilities.max() < 1.0  # torchmetrics puts a confidence of exactly 1 into an extra bin
    tensors = torch.from_numpy(probabilities), torch.from_numpy(labels)
    oracle = multiclass_calibration_error(*tensors, num_classes=10, n_bins=n_bins, norm="l1")
    ece = expected_calibration_error(probabilities, labels, n_bins)
    assert ece == pytest.approx(float(oracle), abs=1e-6)


def test_reliability_bins_agree_with_a_loop():
    probabilities, labels, _ = draw(np.random.default_rng(1), 200)
    bins = reliability_bins(probabilities, labels, 12)
    expected = naive_bins(probabilities, labels, 12)
    np.testing.assert_allclose(np.stack([bins.count, bins.confidence, bins.accuracy], axis=1), expected, rtol=1e-12)
    ece = sum(n / 200 * abs(accuracy - confidence) for n, confidence, accuracy in expected if n)
    assert expected_calibration_error(probabilities, labels, 12) == pytest.approx(ece)


def test_reliability_record_is_strict_json():
    probabilities, labels = two_class([0.9, 1.0], [1, 0])
    record = reliability_bins(probabilities, labels, 2).to_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "count": [0, 2],
        "confidence": [None, 0.95],
        "accuracy": [None, 0.5],
    }


def test_equal_mass_ece_agrees_with_a_loop_over_sorted_chunks():
    probabilities, labels, _ = draw(np.random.default_rng(2), 103)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence)
    ends = [103 * k // 15 for k in range(16)]
    chunks = [order[a:b] for a, b in pairwise(ends)]
    assert {len(chunk) for chunk in chunks} == {6, 7}
    expected = sum(abs((correct[c] - confidence[c]).sum()) for c in chunks) / 103
    assert equal_mass_ece(probabilities, labels) == pytest.approx(expected)


def test_equal_mass_ece_keeps_ties_together():
    # halves of three pictures would cut through the four of confidence 1
    probabilities, labels = two_class([0.6, 0.7, 1.0, 1.0, 1.0, 1.0], [1, 0, 0, 1, 1, 1])
    expected = (1.0 + 0.3) / 6  # the first edge is at 1.0: one bin, 4 of 6 correct, mean confidence 5.3 / 6
    assert equal_mass_ece(probabilities, labels, 2) == pytest.approx(expected)
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(6)
        assert equal_mass_ece(probabilities[shuffled], labels[shuffled], 2) == pytest.approx(expected)


def test_nll_agrees_with_scikit_learn_and_stays_finite():
    probabilities, labels, _ = draw(np.random.default_rng(3), 300)
    oracle = log_loss(labels, probabilities, labels=range(10))
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(oracle)
    probabilities, labels = two_class([1.0, 1.0], [1, 0])
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(-math.log(2.0**-126) / 2)


def test_brier_score_by_hand_and_at_its_bounds():
    assert brier_score([[0.2, 0.5, 0.3]], [2]) == pytest.approx(0.2**2 + 0.5**2 + 0.7**2)
    assert brier_score([[1.0, 0.0]], [0]) == 0.0
    assert brier_score([[1.0, 0.0]], [1]) == 2.0


# --- the debiased ECE
def spelt_out_debiased_ece(probabilities, labels, n_bins):
    """The docstring's formula, bin by bin, the mean absolute values by numerical integration."""
    gaps, noises, weights = [], [], []
    for b, (count, confidence, accuracy) in enumerate(naive_bins(probabilities, labels, n_bins)):
        inside = [p.max() for p in probabilities if b / n_bins < p.max() <= (b + 1) / n_bins]
        if count:
            gaps.append(abs(accuracy - confidence))
            noises.append(math.sqrt(sum(c * (1 - c) for c in inside)) / count)
            weights.append(count / len(labels))
    gaps, noises, weights = map(np.array, (gaps, noises, weights))
    tau = math.sqrt(max(0.0, ((weights * gaps) ** 2).sum() / ((weights * noises) ** 2).sum() - 1))
    kappa = (math.hypot(1, tau) - tau) / (math.sqrt(2 + tau**2) - math.hypot(1, tau))
    draws = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    boosts = np.abs(gaps + noises * draws).mean(axis=0) - gaps
    return (weights * (gaps - kappa * boosts)).sum(), kappa


@pytest.mark.parametrize(("sharpness", "kappas"), [(1.0, (1.5, 2.42)), (3.0, (1.0, 1.2))])
def test_debiased_ece_is_the_formula(sharpness, kappas):
    probabilities, labels, _ = draw(np.random.default_rng(10), 250, sharpness)
    expected, kappa = spelt_out_debiased_ece(probabilities, labels, 15)
    assert debiased_ece(probabilities, labels) == pytest.approx(expected, abs=1e-5)
    assert kappas[0] < kappa < kappas[1]


def test_debiased_ece_is_right_on_average_if_gaps_scatter_as_assumed():
    """Gaps drawn as N(0, (tau s)^2): the mean over many bins is that of the true gaps, whatever tau."""
    rng = np.random.default_rng(11)
    size, bins = 200, 40
    confidence = np.repeat((np.arange(bins, 2 * bins) + 0.5) / (2 * bins), size)  # 0.5 ... 1
    noise = np.sqrt(confidence[::size] * (1 - confidence[::size]) / size)
    for tau in (0.0, 0.5, 1.0, 2.0):
        errors = []
        for _ in range(40):
            accuracy = (confidence[::size] + tau * noise * rng.normal(size=bins)).clip(0, 1)
            correct = rng.random(size * bins) < accuracy.repeat(size)
            estimate = debiased_ece(*two_class(confidence, correct), 2 * bins)
            truth = np.abs(accuracy - confidence[::size]).mean()
            errors.append(estimate - truth)
        assert abs(np.mean(errors)) < 0.1 * noise.mean()  # the plain ECE: 0.8, 0.5, 0.3 and 0.2


def test_debiased_ece_is_not_clipped():
    probabilities, labels = two_class([0.6] * 10, [1] * 6 + [0] * 4)  # as small a gap as can be
    assert debiased_ece(probabilities, labels) < 0.0


@pytest.mark.parametrize("count", [100, 900])
def test_debiased_ece_is_closer_to_the_truth_than_the_plain_one(count):
    """On average over models that are over- or under-confident by a known amount (that of the same bins)."""
    rng = np.random.default_rng(5)
    distances = []
    for sharpness in (0.5, 0.8, 0.9, 1.1, 1.2, 1.5, 2.5):
        reported, _, true = draw(rng, 50_000, sharpness)
        confidence, top = reported.max(axis=1), reported.argmax(axis=1)
        gaps = true[np.arange(len(top)), top] - confidence
        truth = np.abs(np.bincount(np.ceil(confidence * 15).astype(int), gaps)).sum() / len(top)
        samples = [draw(rng, count, sharpness)[:2] for _ in range(60)]
        means = [np.mean([f(p, y) for p, y in samples]) for f in (debiased_ece, expected_calibration_error)]
        distances.append(np.abs(np.array(means) - truth))
    debiased, plain = np.mean(distances, axis=0)
    assert debiased < 0.7 * plain


def test_debiased_ece_equals_the_plain_one_where_the_gap_is_beyond_doubt():
    probabilities, labels = two_class([0.999] * 1000, [1, 0] * 500)
    assert debiased_ece(probabilities, labels) == pytest.approx(0.499, abs=1e-9)
    probabilities, labels = two_class([1.0] * 4, [1, 0, 1, 1])  # no noise at all
    assert debiased_ece(probabilities, labels) == pytest.approx(0.25)
    assert debiased_ece(np.eye(3), [0, 1, 2]) == 0.0


# --- all of them
def test_over_and_underconfidence_are_the_parts_of_the_error():
    probabilities, labels, _ = draw(np.random.default_rng(3), 300, sharpness=2.0)
    over, under = over_and_underconfidence(probabilities, labels)
    assert min(over, under) >= 0
    assert over + under == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-12)
    assert over_and_underconfidence(*two_class([0.9] * 10, [1, 0] * 5)) == pytest.approx((0.4, 0.0))
    assert over_and_underconfidence(*two_class([0.6] * 10, [1] * 10)) == pytest.approx((0.0, 0.4))


def test_classwise_error_is_that_of_each_class_as_a_question_of_its_own():
    probabilities, labels, _ = draw(np.random.default_rng(4), 200)
    total = 0.0
    for k in range(probabilities.shape[1]):
        for b in range(15):
            inside = [i for i, p in enumerate(probabilities[:, k]) if b / 15 < p <= (b + 1) / 15]
            if inside:
                gap = np.mean(labels[inside] == k) - probabilities[inside, k].mean()
                total += len(inside) / 200 * abs(gap)
    assert classwise_ece(probabilities, labels) == pytest.approx(total / probabilities.shape[1], abs=1e-12)


def test_the_brier_decomposition_is_exact():
    probabilities, labels, _ = draw(np.random.default_rng(5), 250)
    reliability, resolution, uncertainty = brier_decomposition(probabilities, labels)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    assert reliability - resolution + uncertainty == pytest.approx(np.mean((confidence - correct) ** 2), abs=1e-12)
    assert reliability >= 0 and uncertainty == pytest.approx(correct.mean() * (1 - correct.mean()))
    # one confidence in each bin: Murphy's own terms
    murphy = brier_decomposition(*two_class([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1]))
    assert murphy == pytest.approx((0.5 * 0.4**2 + 0.5 * 0.4**2, 0.5 * 0.25**2 * 2, 0.75 * 0.25), abs=1e-12)


def test_order_of_pictures_and_of_classes_does_not_matter():
    rng = np.random.default_rng(7)
    probabilities, labels, _ = draw(rng, 150, sharpness=2.0)
    pictures, classes = rng.permutation(150), rng.permutation(10)
    shuffled = summary(probabilities[pictures][:, classes], np.argsort(classes)[labels[pictures]])
    assert shuffled == pytest.approx(summary(probabilities, labels))


def test_torch_tensors_give_the_values_of_arrays():
    probabilities, labels, _ = draw(np.random.default_rng(8), 80)
    tensors = torch.from_numpy(probabilities).requires_grad_(), torch.from_numpy(labels)
    assert summary(*tensors) == summary(probabilities, labels)
    single = summary(torch.from_numpy(probabilities).float(), torch.from_numpy(labels).to(torch.uint8))
    assert single == pytest.approx(summary(probabilities, labels), abs=1e-6)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 20.0])
def test_bounds(sharpness):
    probabilities, labels, _ = draw(np.random.default_rng(9), 60, sharpness)
    values = summary(probabilities, labels)
    assert 0.0 <= values["ece"] <= 1.0 and 0.0 <= values["ece_equal_mass"] <= 1.0
    assert 0.0 <= values["brier"] <= 2.0 and values["nll"] >= 0.0
    assert values["ece_debiased"] <= 1.0
    assert expected_calibration_error(probabilities, labels, n_bins=1) <= values["ece"]  # the triangle inequality


def test_a_softmax_in_float32_over_many_classes_is_accepted():
    logits = 20 * torch.randn(200, 1000, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(dim=1)
    assert probabilities.max() > 0.999999
    assert 0.0 <= expected_calibration_error(probabilities, probabilities.argmax(dim=1)) < 0.5


def test_a_confidence_marginally_above_one_counts_as_one():
    values = summary(np.array([[1.0 + 1e-6, 0.0], [1.0, 0.0]]), [0, 1])
    assert values["ece"] == values["ece_debiased"] == values["ece_equal_mass"] == 0.5


GOOD = np.array([[0.7, 0.3], [0.4, 0.6]])


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.array([[3.0, -1.0], [0.2, 0.9]]), [0, 1], "softmax"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), [0, 1], "negative"),
        (GOOD * 1.01, [0, 1], "sum"),
        (np.array([[np.nan, 1.0], [0.5, 0.5]]), [0, 1], "NaN"),
        (np.array([[np.inf, 0.0], [0.5, 0.5]]), [0, 1], "infinity"),
        (np.array([0.7, 0.3]), [0, 1], r"shape \(2,\)"),
        (np.ones((2, 1)), [0, 0], "K >= 2"),
        (np.zeros((0, 3)), np.zeros(0, int), "N >= 1"),
        (np.array([[1, 0], [0, 1]]), [0, 1], "floating"),
        (GOOD, [0, 2], "allowed are 0 to 1"),
        (GOOD, [-1, 0], "allowed are 0 to 1"),
        (GOOD, [0.0, 1.0], "integers"),
        (GOOD, [0], r"shape \(1,\)"),
        (GOOD, [[0], [1]], r"shape \(2, 1\)"),
        (torch.tensor(GOOD, dtype=torch.bfloat16), [0, 1], "float32"),
    ],
)
def test_bad_input_is_refused_by_every_measure(probabilities, labels, message):
    for measure in MEASURES:
        with pytest.raises(ValueError, match=message):
            measure(probabilities, labels)


def test_bad_options_are_refused():
    for measure in BINNED:
        for n_bins in (0, -3, 2.5):
            with pytest.raises(ValueError, match="n_bins"):
                measure(GOOD, [0, 1], n_bins)
