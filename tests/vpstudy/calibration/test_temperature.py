"""Temperature scaling against truths that are known."""

import numpy as np
import pytest
from scipy.optimize import minimize
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
    assert temperature.fit_temperature(*overconfident(4000, factor)).temperature == pytest.approx(factor, rel=0.08)


def test_at_the_optimum_mean_energies_agree():
    """d NLL / d (1/T) = 0: the mean logit of the true class equals the mean expected logit."""
    logits, labels = overconfident(500, 2.5)
    found = temperature.fit_temperature(logits, labels).temperature
    p = softmax(logits / found, axis=1)
    assert logits[np.arange(500), labels].mean() == pytest.approx((p * logits).sum(1).mean(), abs=1e-3)


def test_scaling_keeps_predictions_and_lowers_the_error():
    logits, labels = overconfident(3000, 4.0)
    scaled = temperature.apply(logits, temperature.fit_temperature(*overconfident(3000, 4.0, seed=1)).temperature)
    before = softmax(logits, axis=1).astype(np.float32)
    assert (scaled.argmax(1) == logits.argmax(1)).all()
    assert expected_calibration_error(scaled, labels) < 0.2 * expected_calibration_error(before, labels)
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 100.0, 1e5])
def test_any_scale_of_logits_agrees_with_a_general_optimizer(scale):
    """Logits times 100 give a temperature times 100: nothing is clamped."""
    logits, labels = overconfident(400, 1.3, seed=3)

    def loss(log_temperature):
        return -log_softmax(logits / np.exp(log_temperature[0]), axis=1)[np.arange(400), labels].mean()

    oracle = np.exp(minimize(loss, [0.0], method="BFGS", options={"gtol": 1e-9}).x[0])
    found, problem = temperature.fit_temperature(logits * scale, labels)
    assert found == pytest.approx(scale * oracle, rel=1e-6) and problem is None


def test_one_wrong_by_far_has_a_closed_form():
    """Two of three are right at a gap of 50: sigmoid(50 / T) = 2 / 3."""
    found = temperature.fit_temperature(np.array([[50.0, 0]] * 3), [0, 0, 1])
    assert found.temperature == pytest.approx(50 / np.log(2))


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.eye(3)[[0, 1, 2, 0]] * 3.0, [0, 1, 2, 0], "is right"),
        (np.eye(3)[[1, 2, 0]], [0, 1, 2], "no higher than others"),
        (np.zeros((5, 3)), [0, 1, 2, 0, 1], "no higher than others"),
    ],
)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_likelihood_without_a_maximum_scales_nothing_and_says_so(logits, labels, words, scale):
    found = temperature.fit_temperature(logits * scale, labels)
    assert found.temperature == 1.0 and words in found.problem


def test_weights_are_as_many_copies_of_a_picture():
    logits, labels = overconfident(300, 2.0, seed=4)
    copies = np.array([1, 7, 2, 5, 3])[labels]
    many = temperature.fit_temperature(np.repeat(logits, copies, axis=0), np.repeat(labels, copies))
    assert temperature.fit_temperature(logits, labels, copies).temperature == pytest.approx(many.temperature)


def test_a_balanced_split_weighted_by_class_fits_an_unbalanced_test_set():
    """A model sure of its frequent classes and unsure of the rare ones; validation is balanced, the test set is not."""
    rng, shares = np.random.default_rng(5), np.array([0.6, 0.3, 0.05, 0.03, 0.02])

    def drawn(labels):
        spread = np.where(labels < 2, 0.4, 3.0)[:, None]  # of errors: the frequent classes are seldom mistaken
        return np.eye(5)[labels] * 2 + rng.normal(0, 1, (len(labels), 5)) * spread, labels

    balanced, test = drawn(np.arange(20000) % 5), drawn(rng.choice(5, 40000, p=shares))
    weights = temperature.class_weights(balanced[1], shares)
    np.testing.assert_allclose([weights[balanced[1] == k].sum() / len(weights) for k in range(5)], shares)
    wanted = temperature.fit_temperature(*test).temperature
    assert temperature.fit_temperature(*balanced, weights).temperature == pytest.approx(wanted, rel=0.05)
    assert temperature.fit_temperature(*balanced).temperature > 1.5 * wanted


def test_no_other_temperature_has_a_lower_loss():
    logits, labels = overconfident(200, 1.7)
    found = temperature.fit_temperature(logits, labels).temperature

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
