"""All that is measured of a model, as the rows of a page's tables: those of `evaluate`, with the same intervals."""

from collections.abc import Callable
from typing import Any, NamedTuple

from depthwise.metrics import Assessment, Interval
from depthwise.report.page import percent


class Share(NamedTuple):
    """A share with its interval, for a table."""

    value: float  # nan where it cannot be told
    interval: Interval | None


class Number(NamedTuple):
    """A number and what it means."""

    name: str
    means: str
    value: str
    interval: str  # '' where there is none


def numbers(found: Assessment, num_classes: int) -> list[Number]:
    """Return accuracy, log loss and calibration; the five highest only where there are more classes."""
    scores, ends = found.scores, found.intervals
    rows = [
        ("Accuracy", "photos whose class is the answer", percent(scores.top1), _ends(ends["top1"])),
        ("Among the five highest", "photos whose class is one of them", percent(scores.top5), _ends(ends["top5"])),
        (
            "Balanced accuracy",
            "mean recall: as if all classes had equally many photos",
            percent(found.averages.balanced_accuracy),
            _ends(ends["balanced_accuracy"]),
        ),
        (
            "Log loss",
            "mean of -ln p(class) in nats, of the probabilities as stated",
            f"{found.nll:.4f}",
            _ends(ends["nll"], "{:.3f}".format),
        ),
        ("Log loss of the logits", "the same before the temperature", f"{scores.loss:.4f}", ""),
        (
            "Calibration error",
            "how far 80% is from being right 80 times in 100",
            percent(found.calibration_error),
            f"by chance up to {percent(found.error_by_chance)}",
        ),
    ]
    return [Number(*row) for row in rows if num_classes > 5 or row[0] != "Among the five highest"]


def averages_rows(found: Assessment) -> list[dict[str, Any]]:
    """Return precision, recall and F1 over the classes: each class counts the same, and each photo does."""
    macro, weighted, ends = found.averages.macro, found.averages.weighted, found.intervals
    known = {"recall": (ends["balanced_accuracy"], ends["top1"]), "F1": (ends["macro_f1"], None)}
    return [
        {
            "name": name,
            "macro": Share(macro[place], known.get(name, (None, None))[0]),
            "weighted": Share(weighted[place], known.get(name, (None, None))[1]),
        }
        for place, name in enumerate(("precision", "recall", "F1"))
    ]


def _ends(interval: Interval | None, shown: Callable[[float], str] = percent) -> str:
    return "no interval" if interval is None else f"{shown(interval.low)} to {shown(interval.high)}"
