"""The curves of one run or of several over each other: loss, accuracy, learning rate, seconds."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, product
from math import inf, nan
from typing import NamedTuple

from markupsafe import Markup

from depthwise.report.chart import DASHES, TONES, Series, line_chart
from depthwise.workflows.run_history import History

SKIPPED = ("epoch", "step", "num_train_images", "num_valid_images")
NAMES = {"train": "training", "valid": "validation", "top1": "first answer", "top5": "among five"}


class Curve(NamedTuple):
    """A chart and what stands above it."""

    title: str
    chart: Markup


class _Group(NamedTuple):
    """Numbers that belong on one chart."""

    title: str
    names: tuple[str, ...]
    shown: Callable[[float], str]
    limits: tuple[float, float] = (-inf, inf)


def curves(history: History, num_classes: int, best_epoch: int | None) -> list[Curve]:
    """Return a chart for each kind of number in the run's metrics, and one of its seconds; the best epoch marked."""
    found = []
    for group in _groups(history, num_classes):
        series = [Series(_word(name), _points(history, name), tone) for name, tone in zip(group.names, cycle(TONES))]
        chart = line_chart(group.title, series, shown=group.shown, mark=best_epoch, limits=group.limits)
        found.append(Curve(group.title, chart))
    seconds = [
        Series(NAMES[part], _seconds(history, part), tone)
        for part, tone in zip(("train", "valid"), TONES, strict=False)
    ]
    found.append(Curve("Seconds per epoch", line_chart("Seconds per epoch", seconds, limits=(0, inf))))
    return [curve for curve in found if curve.chart]


def overlaid(histories: Sequence[tuple[str, History]]) -> list[Curve]:
    """Return the runs' validation loss, accuracy and learning rate, and their training loss, run over run."""
    styles = [(tone, dashes) for dashes, tone in product(DASHES, TONES)]
    found = []
    for title, column, shown, limits in (
        ("Validation loss", "valid_loss", _plain, (-inf, inf)),
        ("Validation accuracy", "valid_top1", _share, (0.0, 1.0)),
        ("Training loss", "train_loss", _plain, (-inf, inf)),
        ("Learning rate", "lr", _plain, (0.0, inf)),
    ):
        series = [
            Series(name, _points(history, column), *style)
            for (name, history), style in zip(histories, cycle(styles), strict=False)
        ]
        found.append(Curve(title, line_chart(title, series, shown=shown, limits=limits)))
    return [curve for curve in found if curve.chart]


def _groups(history: History, num_classes: int) -> Iterator[_Group]:
    names = list(dict.fromkeys(name for row in history.rows for name in row))
    losses = tuple(name for name in names if name.endswith("_loss"))
    hits = tuple(n for n in names if n.endswith("_top1") or (n.endswith("_top5") and num_classes > 5))
    yield _Group("Loss", losses, _plain)
    yield _Group("Accuracy on validation photos", hits, _share, (0.0, 1.0))
    for name in names:
        if name not in (*losses, *hits, *SKIPPED) and not name.endswith("_top5"):
            title = "Learning rate" if name == "lr" else name.replace("_", " ").capitalize()
            yield _Group(title, (name,), _plain, (0.0, inf) if name == "lr" else (-inf, inf))


def _points(history: History, name: str) -> list[tuple[float, float]]:
    values = [(row.get("epoch", 0), row.get(name)) for row in history.rows]
    points = [(float(epoch), float(v) if isinstance(v, int | float) else nan) for epoch, v in values]
    return points if any(value == value for _, value in points) else []  # noqa: PLR0124 (nan)


def _seconds(history: History, part: str) -> list[tuple[float, float]]:
    return [(float(epoch), row.get(f"{part}_s", nan)) for epoch, row in sorted(history.timings.items())]


def _word(name: str) -> str:
    """Return what to call a number in a legend: training for train_loss."""
    part, _, rest = name.partition("_")
    return NAMES.get(rest) or NAMES.get(part) or name.replace("_", " ")


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _share(value: float) -> str:
    return f"{100 * value:.4g}%"
