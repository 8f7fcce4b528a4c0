"""Charts inside a page: lines over epochs, in the page's own colours, so that they are light or dark with it."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from depthwise.report.svg import Point, circle, line, number, text, text_width

INK, GREY, LINE, PAPER = "var(--ink)", "var(--grey)", "var(--line)", "var(--paper)"
TONES = ("var(--blue)", "var(--orange)", "var(--purple)", "var(--teal)", "var(--bad)", "var(--good)")
DASHES = ("", "7 4", "2 3")
WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 408, 34, 214
LABEL = 13
SAMPLE, ROW = 24, 18
"""Of the legend: from the start of a line's sample to its name, and from one row to the next."""
MOST_SPOTS = 120
"""Points of a line that tell their number under the mouse."""


class Series(NamedTuple):
    """A line: a name and its points; nan is a gap."""

    name: str
    points: Sequence[Point]  # epoch and value
    tone: str = TONES[0]
    dashes: str = ""


class Scale(NamedTuple):
    """Where on the drawing a value of a range lies."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place in px."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    shown: Callable[[float], str] = "{:g}".format,
    mark: float | None = None,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Markup:
    """Return lines over epochs as SVG; `shown` writes a value, `mark` is the epoch to point out.

    The axis has round steps around the values, none outside `limits`. Without any value there is no chart.
    """
    values = [value for one in series for _, value in one.points if math.isfinite(value)]
    epochs = [epoch for one in series for epoch, _ in one.points]
    if not values:
        return Markup("")
    ticks = [tick for tick in round_steps(min(values), max(values)) if limits[0] <= tick <= limits[1]]
    x = Scale(min(epochs), max(*epochs, min(epochs) + 1), LEFT + 8, RIGHT - 8)
    y = Scale(ticks[0], ticks[-1], BOTTOM, TOP)
    elements = [*_axes(x, y, ticks, shown, sorted(set(epochs)))]
    if mark is not None and min(epochs) <= mark <= max(epochs):
        elements.append(line([(x(mark), TOP), (x(mark), BOTTOM)], colour=GREY, width=1, dashes="3 3"))
    for one in series:
        elements += _drawn(one, x, y, shown)
    if len(series) < 2:
        return inline(WIDTH, HEIGHT, title, elements)
    legend, down = _legend(series)
    return inline(WIDTH, HEIGHT + down, title, [*legend, f'<g transform="translate(0 {down})">', *elements, "</g>"])


def inline(width: float, height: float, title: str, elements: Iterable[str]) -> Markup:
    """Return an SVG element for the middle of a page; what is in `elements` must be escaped."""
    head = f'<svg class="chart" viewBox="0 0 {number(width)} {number(height)}" role="img" aria-label="{escape(title)}">'
    return Markup("\n".join([head, *elements, "</svg>"]))


def round_steps(low: float, high: float, most: int = 5) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten that enclose [low, high], `most` steps or so."""
    if high - low < 1e-9 * max(abs(high), 1e-12):
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _axes(
    x: Scale, y: Scale, ticks: Sequence[float], shown: Callable[[float], str], epochs: Sequence[float]
) -> Iterator[str]:
    for tick in ticks:
        yield line([(LEFT, y(tick)), (RIGHT, y(tick))], colour=LINE, width=1)
        yield text((LEFT - 7, y(tick) + 4), shown(tick), size=LABEL, colour=GREY, anchor="end")
    for epoch in _whole_steps(epochs):
        yield text((x(epoch), BOTTOM + 17), f"{epoch:,}", size=LABEL, colour=GREY, anchor="middle")
    yield text(((LEFT + RIGHT) / 2, HEIGHT - 4), "epoch", size=LABEL, colour=GREY, anchor="middle")


def _whole_steps(epochs: Sequence[float]) -> list[int]:
    """Return up to about eight epochs to name below the axis."""
    first, last = int(epochs[0]), int(epochs[-1])
    steps = (power * m for power in (10**p for p in range(12)) for m in (1, 2, 5))
    step = next(step for step in steps if (last - first) / step <= 8)
    return [epoch for epoch in range(first, last + 1) if epoch % step == 0 or (step > 1 and epoch == first == 1)]


def _drawn(one: Series, x: Scale, y: Scale, shown: Callable[[float], str]) -> Iterator[str]:
    for run in _unbroken(one.points):
        places = [(x(epoch), y(value)) for epoch, value in run]
        if len(places) == 1:
            yield circle(places[0], 4, fill=one.tone, stroke=one.tone)
        else:
            yield line(places, colour=one.tone, width=2, dashes=one.dashes, bend=0)
    every = -(-len(one.points) // MOST_SPOTS)
    for epoch, value in one.points[::every]:
        if math.isfinite(value):
            words = escape(f"{one.name}, epoch {epoch:g}: {shown(value)}")
            place = f'cx="{number(x(epoch))}" cy="{number(y(value))}" r="5"'
            yield f'<circle class="hit" {place} color="{one.tone}"><title>{words}</title></circle>'


def _unbroken(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Yield the runs of points between gaps."""
    run: list[Point] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _legend(series: Sequence[Series]) -> tuple[list[str], int]:
    """Return the lines' names in rows as wide as the chart, and how far the rows below the first push it down."""
    elements, left, down = [], float(LEFT), 0
    for one in series:
        name = _cut(one.name)
        end = left + SAMPLE + text_width(name, LABEL)
        if end > WIDTH:
            left, end, down = LEFT, end - left + LEFT, down + ROW
        places = [(left, 13 + down), (left + 18, 13 + down)]
        elements.append(line(places, colour=one.tone, width=3, dashes=one.dashes, bend=0))
        elements.append(text((left + SAMPLE, 17 + down), name, size=LABEL, colour=INK))
        left = end + 16
    return elements, down


def _cut(name: str) -> str:
    """Return a name without its middle where it is wider than the chart: runs differ in the first or last part."""
    most = int((WIDTH - LEFT - SAMPLE) / text_width("m", LABEL))
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}\u2026{name[-half:]}"
