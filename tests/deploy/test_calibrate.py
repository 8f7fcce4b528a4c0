"""Temperature and calibration error, on numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.deploy.calibrate import HIGHEST, calibrate, cautious_loss
from depthwise.metrics import calibration_error, softmax


def test_calibration_error_by_hand():
    # Three answers at 0.9, two of them right; one at 0.6, right: |2.7 - 2| / 4 + |0.6 - 1| / 4
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6]])
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(probabilities, labels) == pytest.approx(0.7 / 4 + 0.4 / 4)


def test_sure_and_right_has_no_error():
    assert calibration_error(np.eye(3), np.arange(3)) == 0.0
    assert calibration_error(np.eye(3), np.array([1, 2, 0])) == 1.0


def drawn(temperature, num_images=20_000, num_classes=5, seed=0):
    """Logits whose softmax is exactly the chance of each class, then made too sure by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (num_images, num_classes)).astype(np.float32)
    chances = softmax(logits)
    labels = (chances.cumsum(1) < rng.random((num_images, 1))).sum(1)
    return (logits * temperature).astype(np.float32), np.minimum(labels, num_classes - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    logits, labels = drawn(temperature)
    found = calibrate(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.error_after < 0.015
    if temperature != 1:
        assert found.error_after < found.error_before / 3


@given(st.integers(0, 10_000))
def test_it_is_the_best_of_all_temperatures(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (12, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 12)
    found = calibrate(logits, labels)
    for other in np.geomspace(0.05, 20, 25):
        assert cautious_loss(logits, labels, found.temperature) <= cautious_loss(logits, labels, other) + 1e-6


def test_cautious_loss_by_hand():
    """Two pictures: a quarter of the target lies evenly on both classes, so that 7/8 is the share of its own."""
    logits = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    p = 1 / (1 + np.exp(-3))
    assert cautious_loss(logits, np.array([0, 1]), 1.0) == pytest.approx(-7 / 8 * np.log(p) - 1 / 8 * np.log(1 - p))


@pytest.mark.parametrize("num_images", [2, 10, 100])
def test_a_few_right_answers_are_no_proof_of_certainty(num_images):
    logits = np.tile(np.array([[5.0, 0.0]], np.float32), (num_images, 1))
    found = calibrate(logits, np.zeros(num_images, np.int64))
    stated = softmax(logits / np.float32(found.temperature))[0, 0]
    assert stated == pytest.approx(1 - 1 / (2 * (num_images + 2)), rel=1e-3)


def test_only_wrong_answers_make_it_as_unsure_as_can_be():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    assert calibrate(logits, np.array([1, 0])).temperature == pytest.approx(HIGHEST, rel=0.01)


def test_answers_stay_what_they_were():
    logits, labels = drawn(2.0, 500)
    assert np.array_equal(logits.argmax(1), (logits / calibrate(logits, labels).temperature).argmax(1))
