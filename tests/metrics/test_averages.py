import math

import numpy as np
import pytest

from depthwise.metrics import averages, class_scores

# True classes in rows. Class 2 was never the answer; class 3 has no photos and was the answer once.
CONFUSION = np.array([[2, 1, 0, 0], [1, 2, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
PHOTOS = CONFUSION.sum(axis=1)


def test_the_scores_of_each_class():
    precision, recall, f1 = class_scores(CONFUSION)
    assert precision[[0, 1, 3]].tolist() == [2 / 4, 2 / 3, 0]
    assert math.isnan(precision[2])
    assert recall[:3].tolist() == [2 / 3, 2 / 4, 0]
    assert math.isnan(recall[3])
    assert f1.tolist() == [4 / 7, 4 / 7, 0, 0]


def test_averages_leave_out_classes_without_photos():
    found = averages(class_scores(CONFUSION), PHOTOS)
    assert found.macro == pytest.approx(((1 / 2 + 2 / 3) / 3, (2 / 3 + 1 / 2) / 3, 8 / 21))
    assert found.weighted == pytest.approx(((3 / 2 + 8 / 3) / 8, 4 / 8, 4 / 8))
    assert found.balanced_accuracy == found.macro[1]


def test_weighted_recall_is_accuracy():
    rng = np.random.default_rng(0)
    confusion = rng.integers(1, 9, (5, 5))
    accuracy = confusion.trace() / confusion.sum()
    assert averages(class_scores(confusion), confusion.sum(axis=1)).weighted[1] == pytest.approx(accuracy)
