"""How good answers are, counted over photos: NumPy only, shared by training, exported models and the small install."""

from depthwise.metrics.assessment import Assessment, assess
from depthwise.metrics.averages import Averages, ClassScores, averages, class_scores, recall_precision
from depthwise.metrics.bootstrap import bootstrap_intervals
from depthwise.metrics.intervals import (
    Interval,
    effective_count,
    photos_needed,
    proportion_interval,
    share_bound,
    share_interval,
    upper_bound,
)
from depthwise.metrics.paired import Paired, compare_pairs, pairs_needed
from depthwise.metrics.reliability import Bin, calibration_error, error_by_chance, reliability_bins
from depthwise.metrics.roc import auroc
from depthwise.metrics.scores import (
    Labels,
    Logits,
    Scores,
    confusion_matrix,
    cross_entropy,
    log_softmax,
    ranks,
    score,
    softmax,
)

__all__ = [
    "Assessment",
    "Averages",
    "Bin",
    "ClassScores",
    "Interval",
    "Labels",
    "Logits",
    "Paired",
    "Scores",
    "assess",
    "auroc",
    "averages",
    "bootstrap_intervals",
    "calibration_error",
    "class_scores",
    "compare_pairs",
    "confusion_matrix",
    "cross_entropy",
    "effective_count",
    "error_by_chance",
    "log_softmax",
    "pairs_needed",
    "photos_needed",
    "proportion_interval",
    "ranks",
    "recall_precision",
    "reliability_bins",
    "score",
    "share_bound",
    "share_interval",
    "softmax",
    "upper_bound",
]
