import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from depthwise.metrics import confusion_matrix, cross_entropy, ranks, recall_precision, score, softmax

# Seven pictures of three classes: three of class 0 (answers 0 0 1), three of class 1 (1 1 0), one of class 2 (0).
LABELS = np.array([0, 0, 0, 1, 1, 1, 2])
ANSWERS = np.array([0, 0, 1, 1, 1, 0, 0])
CONFUSION = [[2, 1, 0], [1, 2, 0], [1, 0, 0]]


def test_confusion_has_true_classes_in_rows_and_answers_in_columns():
    assert confusion_matrix(ANSWERS, LABELS, 3).tolist() == CONFUSION


def test_recall_goes_by_rows_and_precision_by_columns():
    recall, precision = recall_precision(np.array(CONFUSION))
    assert recall.tolist() == [2 / 3, 2 / 3, 0]
    assert precision[:2].tolist() == [2 / 4, 2 / 3]
    assert math.isnan(precision[2])  # class 2 was never the answer


def test_softmax_of_numbers_worked_out_on_paper():
    logits = np.log(np.array([[1, 2, 5], [6, 1, 1]])).astype(np.float32)
    assert softmax(logits) == pytest.approx(np.array([[1 / 8, 2 / 8, 5 / 8], [6 / 8, 1 / 8, 1 / 8]]), abs=1e-7)


def test_softmax_and_loss_survive_large_logits():
    logits = np.array([[1000, 0], [-1000, -1000]], np.float32)
    assert softmax(logits).tolist() == [[1, 0], [0.5, 0.5]]
    assert cross_entropy(logits, np.array([1, 0])) == pytest.approx((1000 + math.log(2)) / 2)


def test_ranks_count_the_classes_above_and_equals_go_by_number():
    logits = np.array([[3, 1, 2, 0], [1, 1, 1, 1], [2, 5, 5, 1]], np.float32)
    repeated = logits.repeat(4, axis=0)
    assert ranks(repeated, np.tile(np.arange(4), 3)).reshape(3, 4).tolist() == [
        [0, 2, 1, 3],
        [0, 1, 2, 3],
        [2, 0, 1, 3],
    ]


def test_top_one_agrees_with_argmax_where_scores_are_equal():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 3, (200, 6)).astype(np.float32)
    labels = rng.integers(0, 6, 200)
    assert ((ranks(logits, labels) == 0) == (logits.argmax(axis=1) == labels)).all()


def test_a_network_that_answers_nan_is_never_right():
    logits = np.full((3, 4), np.nan, np.float32)
    assert ranks(logits, np.array([0, 1, 3])).tolist() == [4, 4, 4]
    logits[0, 0] = 9  # the others are still nan, and argmax takes them
    assert ranks(logits, np.array([0, 1, 3]))[0] == 3


def test_cross_entropy_is_that_of_torch():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 5, (50, 7)).astype(np.float32)
    labels = rng.integers(0, 7, 50)
    expected = functional.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    assert cross_entropy(logits, labels) == pytest.approx(expected.item(), rel=1e-12)


def test_score_puts_everything_together():
    logits = np.eye(3, dtype=np.float32)[ANSWERS] * np.float32(math.log(2))
    scores = score(logits, LABELS)
    assert (scores.num_images, scores.top1, scores.top5) == (7, 4 / 7, 1.0)  # of three classes, all are among five
    assert scores.confusion.tolist() == CONFUSION
    # p = 1/2 for the answer and 1/4 for the others: four times ln 2, three times ln 4.
    assert scores.loss == pytest.approx((4 * math.log(2) + 3 * math.log(4)) / 7)


def test_top_five_stops_at_five():
    logits = np.tile(np.arange(8, 0, -1, dtype=np.float32), (8, 1))
    scores = score(logits, np.arange(8))
    assert (scores.top1, scores.top5) == (1 / 8, 5 / 8)
