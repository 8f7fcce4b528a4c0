"""Comparing two engines' answers."""

import numpy as np
import pytest

from depthwise.deploy.verify import check_golden, compare, noise, odd_sized, pack_golden
from depthwise.errors import UserError

BEFORE = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.0]], np.float32)
LABELS = np.array([0, 1, 1])


def test_equal_logits_pass():
    found = compare(BEFORE, BEFORE.copy(), 1.0, LABELS)
    assert found.is_passed and found.top1_agreement == 1 and found.max_probability_difference == 0
    assert found.accuracy_before == found.accuracy_after == pytest.approx(2 / 3)


def test_rounding_passes_also_where_two_classes_tie():
    after = BEFORE + np.array([[1e-5, 0, 0], [0, 0, 0], [0, 1e-5, 0]], np.float32)
    found = compare(BEFORE, after, 1.0, LABELS)
    assert found.is_passed and found.top1_agreement == 1  # the third picture's answer changed: a tie
    assert 0 < found.max_probability_difference < 1e-4


@pytest.mark.parametrize("wrong", [5.0, 0.1, float("nan")])
def test_a_picture_that_differs_is_named(wrong):
    after = BEFORE.copy()
    after[1, 2] = wrong
    found = compare(BEFORE, after, 1.0, None)
    assert found.differing == (1,) and not found.is_passed
    assert found.accuracy_after is None


def test_the_temperature_counts():
    after = BEFORE + np.float32(0.01) * np.arange(3, dtype=np.float32)
    assert not compare(BEFORE, after, 1.0, None).is_passed
    assert not compare(BEFORE, after, 100.0, None).is_passed  # nor does a high temperature hide it


def test_a_low_temperature_does_not_hide_a_difference():
    after = BEFORE + np.array([0.5, 0, 0], np.float32)
    assert compare(10 * BEFORE, 10 * BEFORE + (after - BEFORE), 0.05, None).differing == (2,)  # a tie
    assert compare(BEFORE[:2], after[:2], 0.02, None).differing == (0, 1)


class Fake:
    """An engine whose logits are the mean of each channel, plus what is wrong with it."""

    def __init__(self, wrong=0.0, **metadata):
        self.wrong, self.metadata = wrong, metadata
        geometry = type("Geometry", (), {"image_size": 20, "channels": 3})()
        self.card = type("Card", (), {"temperature": 1.0, "classes": "abc", "geometry": geometry})()
        self.takes_any_size = True

    def logits(self, images):
        return images.mean((1, 2)).astype(np.float32) / 50 + np.array([0, 0, self.wrong], np.float32)


def test_pictures_travel_along_and_tell_another_machine():
    pictures = noise(3, 20, 3)
    packed = pack_golden(list(pictures), Fake().logits(pictures))
    assert check_golden(Fake(golden=packed)) < 1e-6
    assert check_golden(Fake(0.5, golden=packed)) > 0.05
    assert check_golden(Fake(float("nan"), golden=packed)) == float("inf")
    assert check_golden(Fake()) is None


def test_a_picture_of_another_size_asks_the_file_s_own_resizing():
    odd = odd_sized(20, 3)
    assert odd.shape == (1, 30, 25, 3)
    packed = pack_golden(list(odd), np.float32([[0, 0, 9]]))
    assert check_golden(Fake(golden_resized=packed)) > 0.05
    fixed = Fake(golden_resized=packed)
    fixed.takes_any_size = False
    assert check_golden(fixed) is None


@pytest.mark.parametrize(
    "golden", [7, [{}], ["x"], [{"png": "####", "logits": [0, 0, 0]}], [{"png": "", "logits": []}]]
)
def test_pictures_that_cannot_be_read_are_told(golden):
    with pytest.raises(UserError, match="the model file is damaged: its pictures to ask again cannot be read"):
        check_golden(Fake(golden=golden))
    for pictures, logits in ((noise(1, 20, 3), [1, 2]), (noise(1, 21, 3), [1, 2, 3]), (noise(1, 20, 1), [1, 2, 3])):
        spoiled = [{**entry, "logits": logits} for entry in pack_golden(list(pictures), np.zeros((1, 3)))]
        with pytest.raises(UserError, match="cannot be read"):
            check_golden(Fake(golden=spoiled))


def test_an_engine_that_fails_is_not_taken_for_broken_pictures():
    engine = Fake(golden=pack_golden(list(noise(1, 20, 3)), np.zeros((1, 3))))
    engine.logits = lambda images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        check_golden(engine)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_always_the_same_and_fills_its_range(channels):
    first = noise(4, 33, channels)
    assert first.shape == (4, 33, 33, channels) and first.dtype == np.uint8
    assert np.array_equal(first, noise(4, 33, channels))
    assert first.min() < 10 and first.max() > 245
