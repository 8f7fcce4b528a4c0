import numpy as np
import pytest

from depthwise.data.augment_erase import erase
from depthwise.data.order import mix

IDS = mix(np.arange(1000), 3)


def erased(probability: float, side: int = 32, number: int = 1000) -> np.ndarray:
    """Which pixels changed: bool (number, side, side)."""
    images = np.zeros((number, side, side, 3), np.uint8)
    erase(images, IDS[:number], 0, 0, probability)
    return images.any(axis=3)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.3, 0.24, 0.36), (1.0, 1, 1)])
def test_so_many_pictures_lose_a_part(probability, low, high):
    assert low <= erased(probability).any(axis=(1, 2)).mean() <= high


def test_a_part_is_one_rectangle_of_2_to_40_percent():
    masks = erased(1.0)
    heights, widths = masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)
    shares = heights * widths / 32**2
    assert shares.min() > 0.01 and shares.max() < 0.43  # whole pixels
    assert abs(shares.mean() - 0.21) < 0.015
    assert (masks.sum(axis=(1, 2)) >= 0.95 * heights * widths).all()  # noise is black by chance


def test_parts_lie_anywhere():
    covered = erased(1.0).mean(axis=0)
    assert covered.min() > 0 and covered[8:24, 8:24].min() > 0.2


def test_noise_uses_all_values_and_differs_between_pictures():
    images = np.zeros((50, 32, 32, 3), np.uint8)
    erase(images, IDS[:50], 0, 0, 1.0)
    values = images[images > 0]
    assert abs(values.mean() - 128) < 3
    assert len(np.unique(values)) == 255
    assert not np.array_equal(np.sort(images[0].ravel())[-20:], np.sort(images[1].ravel())[-20:])
