"""Probabilities that mean something: a temperature, fitted on validation pictures (Guo et al. 2017, arXiv:1706.04599).

Divided by the temperature, logits keep their order, so no answer changes; only how sure it sounds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwise.metrics import Labels, Logits, calibration_error, cross_entropy, softmax

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a temperature: beyond them there are too few mistakes, or too few right answers, to learn from."""

MOST = 10_000
"""Pictures beyond which a single number gains nothing."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it did to the validation pictures that it was fitted on."""

    temperature: float
    num_images: int
    error_before: float
    """Expected calibration error, 15 bins, in [0, 1]."""
    error_after: float
    loss_before: float
    """Mean cross-entropy, nats."""
    loss_after: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: round(float(value), 6) for name, value in vars(self).items()} | {"num_images": self.num_images}


def calibrate(logits: Logits, labels: Labels) -> Calibration:
    """Fit the temperature that makes `cautious_loss` of logits (N, K) least; N must be above 0.

    Of more than MOST pictures, that many from all over the set are used.
    """
    every = -(-len(labels) // MOST)
    logits, labels = logits[::every], labels[::every]
    temperature = _fit(logits, labels)
    cooled = logits / np.float32(temperature)
    return Calibration(
        temperature,
        len(labels),
        calibration_error(softmax(logits), labels),
        calibration_error(softmax(cooled), labels),
        cross_entropy(logits, labels),
        cross_entropy(cooled, labels),
    )


def _fit(logits: Logits, labels: Labels) -> float:
    """Return the temperature by golden-section search over its logarithm: the loss is convex in 1 / temperature."""
    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(LOWEST), np.log(HIGHEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = (cautious_loss(logits, labels, np.exp(point)) for point in (left, right))
    for _ in range(40):  # to 1e-8 of the range
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cautious_loss(logits, labels, np.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cautious_loss(logits, labels, np.exp(right))
    return round(float(np.exp((low + high) / 2)), 6)


def cautious_loss(logits: Logits, labels: Labels, temperature: float) -> float:
    """Return the cross-entropy against targets of which 1 / (N + 2) lies evenly on all classes, nats.

    Platt's correction (1999, section 2.2) for few pictures: N right answers out of N are no proof of certainty, and
    without it the temperature would fall to its bound.
    """
    doubt = 1 / (len(labels) + 2)
    cooled = (logits / temperature).astype(np.float64)
    shifted = cooled - cooled.max(axis=1, keepdims=True)
    log_chances = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    own = np.take_along_axis(log_chances, labels[:, None], axis=1).mean()
    return float(-(1 - doubt) * own - doubt * log_chances.mean())
