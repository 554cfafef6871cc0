"""The legacy quantity beside the true calibration error, on data of known calibration."""

import numpy as np
import pytest
from scipy.special import softmax

from vpstudy.calibration.legacy import legacy_ece
from vpstudy.calibration.metrics import expected_calibration_error

COUNT, BATCH = 10_000, 128


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 10) and labels drawn from their softmax."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (COUNT, 10))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((COUNT, 1))).sum(axis=1).clip(max=9)
    return logits, labels


def test_it_ranks_the_best_calibrated_model_behind_an_underconfident_one(calibrated):
    """Known values of such data: true ECE 0.24, 0.014, 0.16 and, at batch 128, 0.013, 0.030, 0.066."""
    logits, labels = calibrated
    scales = (0.5, 1.0, 2.0)
    true = [expected_calibration_error(softmax(s * logits, axis=1), labels) for s in scales]
    legacy = [legacy_ece(s * logits, labels, BATCH) for s in scales]
    assert true == pytest.approx([0.24, 0.014, 0.16], rel=0.08)
    assert legacy == pytest.approx([0.013, 0.030, 0.066], rel=0.05)
    assert np.argmin(true) == 1 and np.argmin(legacy) == 0


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_the_legacy_quantity_is_that_of_a_loop(batch):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 1.5, (100, 5)), rng.integers(0, 5, 100)
    total = 0.0
    for start in range(0, 100, batch):
        rows = range(start, min(start + batch, 100))
        bins: dict[int, list[tuple[float, float]]] = {}
        for i in rows:
            value = logits[i].max()
            index = next((b for b in range(14) if value <= (b + 1) / 15), 14)
            bins.setdefault(index, []).append((float(logits[i].argmax() == labels[i]), value))
        for members in bins.values():
            correct, value = np.mean(members, axis=0)
            total += len(members) / len(rows) * abs(correct - value)
    assert legacy_ece(logits, labels, batch) == pytest.approx(total / 100)


def test_large_logits_leave_one_bin_and_a_closed_form(calibrated):
    """All above 14/15: mean |accuracy − mean logit| of batches, here all of one sign and equally large."""
    logits, labels = calibrated
    shifted = logits - logits.max(axis=1, keepdims=True) + 3.0
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    for batch in (100, 200, 400):
        assert legacy_ece(shifted, labels, batch) == pytest.approx((3.0 - accuracy) / batch)


def test_a_value_on_an_edge_falls_below_it():
    """Apart, the gaps 1 − 14/15 and 0 − 0.95 add up; in one bin they would cancel."""
    logits, labels = np.array([[14 / 15, 0.0], [0.95, 0.0]]), np.array([0, 1])
    assert legacy_ece(logits, labels, 2) == pytest.approx((1 / 15 + 0.95) / 2 / 2)
    above = np.array([[np.nextafter(14 / 15, 1), 0.0], [0.95, 0.0]])
    assert legacy_ece(above, labels, 2) == pytest.approx((0.95 - 1 / 15) / 2 / 2)


def test_misfitting_shapes_are_refused():
    for logits, labels in ((np.zeros(3), [0, 1, 2]), (np.zeros((3, 2)), [0, 1]), (np.zeros((0, 2)), [])):
        with pytest.raises(ValueError, match=r"expected \(N, K\)"):
            legacy_ece(logits, np.array(labels), 1)
    with pytest.raises(ValueError, match="batch is 0"):
        legacy_ece(np.zeros((1, 2)), np.array([0]), 0)
