"""Numbers from logits, in NumPy only, so that training, exported models and the small install share them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Return probabilities (B, K) from logits (B, K); computed in float64, the largest logit taken off first."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def ranks(logits: Logits, labels: Labels) -> NDArray[np.intp]:
    """Return how many classes score above each sample's own (0: it is right); of equals the lower number goes first.

    A sample with nan for its own class is wrong: all classes score above it.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    is_not_before = np.arange(logits.shape[1]) >= labels[:, None]
    is_not_above = (logits < own) | ((logits == own) & is_not_before)  # nan is neither
    above: NDArray[np.intp] = (~is_not_above).sum(axis=1)
    return above


def cross_entropy(logits: Logits, labels: Labels) -> float:
    """Return the mean of -ln p(label), in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]).mean())


def confusion_matrix(predicted: Labels, labels: Labels, num_classes: int) -> NDArray[np.int64]:
    """Return counts (K, K): row = true class, column = predicted class."""
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """How well logits fit labels, counted over pictures."""

    num_images: int
    top1: float
    """Share of pictures whose own class scores highest, in [0, 1]."""
    top5: float
    """Share whose own class is among the five highest (or all, with fewer classes)."""
    loss: float
    """Mean cross-entropy, nats."""
    confusion: NDArray[np.int64]
    """Counts (K, K): row = true class, column = predicted class."""


def score(logits: Logits, labels: Labels) -> Scores:
    """Compare logits (N, K) with labels (N,); N must be above 0."""
    above = ranks(logits, labels)
    return Scores(
        num_images=len(labels),
        top1=float((above == 0).mean()),
        top5=float((above < 5).mean()),
        loss=cross_entropy(logits, labels),
        confusion=confusion_matrix(logits.argmax(axis=1), labels, logits.shape[1]),
    )


def recall_precision(confusion: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per class the share of its pictures that were found, and of its answers that were right (nan: none)."""
    hits = confusion.diagonal().astype(np.float64)
    with np.errstate(invalid="ignore"):
        return hits / confusion.sum(axis=1), hits / confusion.sum(axis=0)


def calibration_error(probabilities: NDArray[np.float64], labels: Labels, num_bins: int = 15) -> float:
    """Return the expected calibration error: how far the stated and the true share of right answers are apart.

    Pictures are binned by their answer's probability, in `num_bins` bins of equal width; the distance of the mean
    probability to the share of right answers in each is averaged, weighted by pictures (Naeini et al. 2015; Guo et al.
    2017, equation 3).
    """
    stated = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((stated * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    gaps = np.abs(
        np.bincount(bins, weights=stated, minlength=num_bins) - np.bincount(bins, weights=is_right, minlength=num_bins)
    )
    return float(gaps.sum() / counts.sum())
