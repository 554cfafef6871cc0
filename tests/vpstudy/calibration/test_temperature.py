"""Temperature scaling against truths that are known."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from vpstudy.calibration import temperature
from vpstudy.calibration.metrics import expected_calibration_error


def overconfident(n: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits `factor` times those that labels were drawn from."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, (n, 5))
    labels = np.array([rng.choice(5, p=p) for p in softmax(true, axis=1)])
    return true * factor, labels


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_that_spoilt_the_logits_is_found(factor):
    assert temperature.fit_temperature(*overconfident(4000, factor)) == pytest.approx(factor, rel=0.08)


def test_at_the_optimum_mean_energies_agree():
    """d NLL / d (1/T) = 0: the mean logit of the true class equals the mean expected logit."""
    logits, labels = overconfident(500, 2.5)
    found = temperature.fit_temperature(logits, labels)
    p = softmax(logits / found, axis=1)
    assert logits[np.arange(500), labels].mean() == pytest.approx((p * logits).sum(1).mean(), abs=1e-3)


def test_scaling_keeps_predictions_and_lowers_the_error():
    logits, labels = overconfident(3000, 4.0)
    scaled = temperature.apply(logits, temperature.fit_temperature(*overconfident(3000, 4.0, seed=1)))
    before = softmax(logits, axis=1).astype(np.float32)
    assert (scaled.argmax(1) == logits.argmax(1)).all()
    assert expected_calibration_error(scaled, labels) < 0.2 * expected_calibration_error(before, labels)
    assert scaled.dtype == np.float32


def test_a_perfect_validation_split_gives_the_lowest_temperature():
    logits = np.eye(3)[[0, 1, 2, 0]] * 3.0
    assert temperature.fit_temperature(logits, [0, 1, 2, 0]) == pytest.approx(temperature.LOWEST)


def test_no_other_temperature_has_a_lower_loss():
    logits, labels = overconfident(200, 1.7)
    found = temperature.fit_temperature(logits, labels)

    def loss(t):
        return -log_softmax(logits / t, axis=1)[np.arange(200), labels].mean()

    assert loss(found) <= min(loss(t) for t in np.geomspace(0.05, 20, 400)) + 1e-9


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"expected \(N, K\)"):
        temperature.fit_temperature(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        temperature.fit_temperature(np.full((2, 2), np.nan), [0, 1])
    with pytest.raises(ValueError, match="above 0"):
        temperature.apply(np.zeros((1, 2)), 0)
