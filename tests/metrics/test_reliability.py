import numpy as np
import pytest

from depthwise.metrics import auroc, calibration_error, reliability_bins

# Answers with 0.9, 0.9, 0.55 and 0.6: right, wrong, right, right. In 2 bins of [0.5, 1] all; in 10 bins three of them.
STATED = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.6, 0.4]])
LABELS = np.array([0, 1, 1, 0])


def test_bins_tell_what_was_stated_and_what_was_right():
    bins = reliability_bins(STATED, LABELS, 10)
    assert [found.num_images for found in bins] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 2]
    assert bins[9][:2] == pytest.approx((0.9, 1.0))
    assert (bins[9].stated, bins[9].right) == pytest.approx((0.9, 0.5))
    assert np.isnan(bins[0].stated)


def test_calibration_error_by_hand():
    assert calibration_error(STATED, LABELS, 10) == pytest.approx((0.45 + 0.4 + 2 * 0.4) / 4)
    assert calibration_error(STATED, LABELS, 1) == pytest.approx(3 / 4 - 2.95 / 4)  # one bin: means alone count


def test_certainty_falls_into_the_last_bin():
    assert reliability_bins(np.array([[1.0, 0.0]]), np.array([0]), 5)[4].num_images == 1


def test_auroc_counts_pairs_in_order_and_equals_half():
    assert auroc([3, 2], [1, 2]) == (1 + 1 + 1 + 0.5) / 4
    assert auroc([1], [1, 1]) == 0.5
    assert auroc([0], [5]) == 0
    with pytest.raises(ValueError, match="both sides"):
        auroc([], [1])
