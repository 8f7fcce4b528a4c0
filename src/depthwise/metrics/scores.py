"""Numbers from logits: probabilities, ranks, cross-entropy, confusion, top-1 and top-5."""

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


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return ln of the probabilities (B, K) from logits (B, K)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def cross_entropy(logits: Logits, labels: Labels) -> float:
    """Return the mean of -ln p(label), in nats."""
    return float(-np.take_along_axis(log_softmax(logits), labels[:, None], axis=1).mean())


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
