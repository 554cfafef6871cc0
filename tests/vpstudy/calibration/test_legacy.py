"""The legacy quantity beside the true calibration error, on data of known calibration; more in test_temperature."""

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


def test_large_logits_leave_one_bin_and_a_closed_form(calibrated):
    """All above 14/15: mean |accuracy − mean logit| of batches, here all of one sign and equally large."""
    logits, labels = calibrated
    shifted = logits - logits.max(axis=1, keepdims=True) + 3.0
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    for batch in (100, 200, 400):
        assert legacy_ece(shifted, labels, batch) == pytest.approx((3.0 - accuracy) / batch)


def test_fewer_pictures_than_a_batch_raise_it():
    """So its level cannot be compared between test sets of different sizes."""
    logits, labels = np.tile([[5.0, 0.0]], (300, 1)), np.zeros(300, dtype=int)
    assert legacy_ece(logits, labels, 300) == pytest.approx(4 / 300)
    assert legacy_ece(logits[:100], labels[:100], 300) == pytest.approx(4 / 100)


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
