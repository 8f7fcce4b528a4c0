"""Precision, recall and F1 of each class, and their averages, from a confusion matrix."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64] | NDArray[np.float64]
Shares = NDArray[np.float64]


class ClassScores(NamedTuple):
    """Per class, each (K,), in [0, 1]."""

    precision: Shares  # of the answers of this class, the share that is right; nan where it was never the answer
    recall: Shares  # of the class's photos, the share that was found; nan where it has none
    f1: Shares  # 2 x right / (photos + answers); nan where there is neither


class Averages(NamedTuple):
    """Precision, recall and F1 over the classes that have photos."""

    macro: tuple[float, float, float]  # each class counts the same; a precision without answers counts as 0
    weighted: tuple[float, float, float]  # each photo counts the same

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes: accuracy as if all had equally many photos."""
        return self.macro[1]


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Return the scores of each class; `confusion` (K, K) has true classes in rows and answers in columns."""
    return from_counts(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))


def from_counts(hits: Counts, photos: Counts, answers: Counts) -> ClassScores:
    """Return the scores of each class from its right answers, its photos and its answers, each (K,)."""
    hits = hits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return ClassScores(hits / answers, hits / photos, 2 * hits / (photos + answers))


def recall_precision(confusion: NDArray[np.int64]) -> tuple[Shares, Shares]:
    """Return per class the share of its pictures that were found, and of its answers that were right (nan: none)."""
    found = class_scores(confusion)
    return found.recall, found.precision


def averages(scores: ClassScores, photos: Counts) -> Averages:
    """Return macro and weighted averages over classes with so many `photos` (K,); one at least must have some."""
    has_photos = photos > 0
    table = np.nan_to_num(np.stack(scores))[:, has_photos]  # (3, classes with photos)
    macro, weighted = table.mean(axis=1), np.average(table, axis=1, weights=photos[has_photos])
    return Averages(tuple(macro.tolist()), tuple(weighted.tolist()))
