"""All that is said of a model on one set of photos, and how sure it is: the same for valid, test and exports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.metrics.averages import Averages, ClassScores, averages, class_scores, from_counts
from depthwise.metrics.bootstrap import DRAWINGS, bootstrap_intervals
from depthwise.metrics.intervals import Interval, share_interval
from depthwise.metrics.reliability import Bin, answers_of, calibration_error, error_by_chance, reliability_bins
from depthwise.metrics.scores import Labels, Logits, Scores, log_softmax, ranks, score, softmax


@dataclass(frozen=True)
class Assessment:
    """How well probabilities fit labels, counted over photos."""

    scores: Scores
    """Of the logits as the network gives them, without the temperature."""
    nll: float
    """Mean of -ln p(label), nats, of the probabilities as stated."""
    calibration_error: float
    """Of the probabilities as stated (see `reliability.calibration_error`)."""
    error_before: float
    """Calibration error without the temperature."""
    error_by_chance: float
    """Calibration error up to which so many photos come by chance, were the probabilities true (95 %)."""
    bins: list[Bin]
    """The reliability diagram."""
    classes: ClassScores
    averages: Averages
    recall_intervals: list[Interval | None]
    """Per class; None where it has no photos."""
    precision_intervals: list[Interval | None]
    """Per class; None where it was never the answer."""
    intervals: dict[str, Interval | None]
    """Of top1, top5 (exact), nll, macro_f1, balanced_accuracy (bootstrap, None: see there)."""
    num_groups: int
    """How many independent pieces the photos are; their number where there are no groups."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values: numbers by name, and their intervals as [low, high] under `intervals`."""
        names = ("precision", "recall", "f1")
        return {
            "top1": self.scores.top1,
            "top5": self.scores.top5,
            "loss": self.scores.loss,
            "nll": self.nll,
            "calibration_error": self.calibration_error,
            "calibration_error_before": self.error_before,
            "calibration_error_by_chance": self.error_by_chance,
            "balanced_accuracy": self.averages.balanced_accuracy,
            "macro": dict(zip(names, self.averages.macro, strict=True)),
            "weighted": dict(zip(names, self.averages.weighted, strict=True)),
            "intervals": {name: listed(interval) for name, interval in self.intervals.items()},
            "reliability": [{n: None if np.isnan(v) else v for n, v in b._asdict().items()} for b in self.bins],
            "num_images": self.scores.num_images,
            "num_groups": self.num_groups,
        }


def listed(interval: Interval | None) -> list[float] | None:
    """Return an interval as JSON has it."""
    return None if interval is None else [interval.low, interval.high]


def assess(
    logits: Logits,
    labels: Labels,
    *,
    temperature: float = 1.0,
    groups: ArrayLike | None = None,
    drawings: int = DRAWINGS,
    seed: int = 0,
) -> Assessment:
    """Compare logits (N, K) with labels (N,); N must be above 0. `temperature` divides logits for what is stated.

    `groups` (N,): photos with the same value are not independent; intervals count groups then, exact ones by
    `effective_count`, the others by drawing whole groups.
    """
    scores = score(logits, labels)
    logs = log_softmax(logits / np.float32(temperature))
    stated = np.exp(logs)
    found = class_scores(scores.confusion)
    statistics = _statistics(logs, stated, labels)
    exact: dict[str, Interval | None] = {
        name: share_interval(is_hit, groups) for name, is_hit in _hits(logits, labels).items()
    }
    drawn = bootstrap_intervals(statistics, len(labels), groups=groups, drawings=drawings, seed=seed)
    answers = logits.argmax(axis=1)
    return Assessment(
        scores=scores,
        nll=float(-logs[np.arange(len(labels)), labels].mean()),
        calibration_error=calibration_error(stated, labels),
        error_before=calibration_error(softmax(logits), labels),
        error_by_chance=error_by_chance(stated, groups, drawings=drawings, seed=seed),
        bins=reliability_bins(stated, labels),
        classes=found,
        averages=averages(found, scores.confusion.sum(axis=1)),
        recall_intervals=[_class_interval(answers == labels, labels == k, groups) for k in range(logits.shape[1])],
        precision_intervals=[_class_interval(answers == labels, answers == k, groups) for k in range(logits.shape[1])],
        intervals=exact | drawn,
        num_groups=len(labels) if groups is None else len(np.unique(np.asarray(groups))),
    )


def _hits(logits: Logits, labels: Labels) -> dict[str, NDArray[np.bool_]]:
    above = ranks(logits, labels)
    return {"top1": above == 0, "top5": above < 5}


def _statistics(
    logs: NDArray[np.float64], stated: NDArray[np.float64], labels: Labels
) -> dict[str, Callable[[NDArray[np.float64]], float]]:
    """Return the numbers that are drawn, each a function of how often a photo counts."""
    losses = -logs[np.arange(len(labels)), labels]
    _, is_right = answers_of(stated, labels)
    answers = stated.argmax(axis=1)

    def means(weights: NDArray[np.float64]) -> Averages:
        hits, photos, said = (
            np.bincount(numbers, weights=times, minlength=logs.shape[1])
            for numbers, times in ((labels, weights * is_right), (labels, weights), (answers, weights))
        )
        return averages(from_counts(hits, photos, said), photos)

    return {
        "nll": lambda weights: float(weights @ losses / weights.sum()),
        "macro_f1": lambda weights: means(weights).macro[2],
        "balanced_accuracy": lambda weights: means(weights).balanced_accuracy,
    }


def _class_interval(
    is_hit: NDArray[np.bool_], is_meant: NDArray[np.bool_], groups: ArrayLike | None
) -> Interval | None:
    if not is_meant.any():
        return None
    return share_interval(is_hit[is_meant], None if groups is None else np.asarray(groups)[is_meant])
