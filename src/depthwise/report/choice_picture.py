"""Accuracy against milliseconds on this machine, with the networks that no other beats joined by a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from depthwise.report.svg import GREY, INK, PAPER, Point, box, circle, document, line, text, text_width
from depthwise.workflows.recommending import Choice, Recommendation

WIDTH, HEIGHT = 980, 620
LEFT, RIGHT, TOP, BOTTOM = 66, WIDTH - 30, 84, HEIGHT - 66
GRID, TAKEN, UNBEATEN, BEATEN, OVER = "#e4e7eb", "#9aa5b1", "#2a8a74", "#a9c9bf", "#b8493c"
LABEL = 11.0


class Scale:
    """From milliseconds (logarithmic) and percent to places in the picture."""

    def __init__(self, choices: Sequence[Choice], max_ms: float) -> None:
        times = [max_ms, *(choice.measured.p50_ms for choice in choices)]
        shares = [choice.published.top1 for choice in choices] or [50.0, 80.0]
        span = max(max(times) / min(times), 2.0)
        self.ms = min(times) / span**0.28, max(times) * span**0.05  # on the left, room for a name
        self.top1 = 5 * math.floor(min(shares) / 5), min(100, 5 * math.ceil((max(shares) + 1) / 5))

    def x(self, ms: float) -> float:
        """Return how far to the right."""
        low, high = map(math.log, self.ms)
        return LEFT + (math.log(ms) - low) / (high - low) * (RIGHT - LEFT)

    def y(self, top1: float) -> float:
        """Return how far down."""
        low, high = self.top1
        return BOTTOM - (top1 - low) / (high - low) * (BOTTOM - TOP)

    def at(self, choice: Choice) -> Point:
        """Return a network's place."""
        return self.x(choice.measured.p50_ms), self.y(choice.published.top1)


def draw_choices(found: Recommendation, accuracy: str = "ImageNet top-1 as published") -> str:
    """Return the picture as an SVG file; `accuracy` says which one it shows."""
    scale = Scale(found.choices, found.budget.max_ms)
    unbeaten = [choice for choice in found.choices if choice.is_unbeaten]
    dots = [_dot(choice, scale) for choice in found.choices]
    elements = [
        *_frame(found, scale, accuracy),
        *_stairs(unbeaten, scale),
        *dots,
        *_names(unbeaten, found.choices, scale),
    ]
    return document(WIDTH, HEIGHT, "Accuracy against milliseconds on this machine", [*elements, *_legend()])


def _frame(found: Recommendation, scale: Scale, accuracy: str) -> Iterator[str]:
    yield text((LEFT, 30), "Accuracy against time on this machine", size=18, is_bold=True)
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    note = f"Median for one picture: {found.engine}, {threads}, {found.processor}. {accuracy}."
    yield text((LEFT, 50), note, colour=GREY)
    for ms in _ticks(*scale.ms):
        yield line([(scale.x(ms), TOP), (scale.x(ms), BOTTOM)], colour=GRID, width=1)
        yield text((scale.x(ms), BOTTOM + 18), f"{ms:g} ms", size=11, colour=GREY, anchor="middle")
    for top1 in range(scale.top1[0], scale.top1[1] + 1, 5):
        yield line([(LEFT, scale.y(top1)), (RIGHT, scale.y(top1))], colour=GRID, width=1)
        yield text((LEFT - 8, scale.y(top1) + 4), f"{top1} %", size=11, colour=GREY, anchor="end")
    limit = scale.x(found.budget.max_ms)
    yield line([(limit, TOP), (limit, BOTTOM)], colour=OVER, dashes="5 4")
    yield text((limit, TOP - 6), f"at most {found.budget.max_ms:g} ms", size=11, colour=OVER, anchor="middle")


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two times."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]


def _stairs(unbeaten: Sequence[Choice], scale: Scale) -> Iterator[str]:
    """Yield steps: this accurate is the best that so much time buys."""
    places = sorted(map(scale.at, unbeaten))
    for (x, y), (next_x, next_y) in pairwise(places):
        yield line([(x, y), (next_x, y), (next_x, next_y)], colour=UNBEATEN, bend=0)


def _dot(choice: Choice, scale: Scale) -> str:
    if choice.is_unbeaten:
        return circle(scale.at(choice), 5, fill=UNBEATEN, stroke=UNBEATEN)
    if choice.is_in_budget:
        return circle(scale.at(choice), 4, fill=BEATEN, stroke=BEATEN)
    return circle(scale.at(choice), 4, fill=PAPER, stroke=TAKEN)


def _names(unbeaten: Sequence[Choice], choices: Sequence[Choice], scale: Scale) -> Iterator[str]:
    """Yield each name at its dot where most room is: of the places around it, the one that meets fewest others."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in map(scale.at, choices)]
    for choice in unbeaten:
        width, (x, y) = text_width(choice.name, LABEL), scale.at(choice)
        lefts = (
            (x - 9 - width, y - 6),
            (x - 9 - width, y - 18),
            (x + 9, y - 6),
            (x + 9, y + 6),
            (x - width / 2, y - 22),
        )
        areas = [(left, top, left + width, top + 12) for left, top in lefts if LEFT < left < RIGHT - width]
        area = min(areas, key=lambda area: sum(_meet(area, other) for other in taken))
        taken.append(area)
        yield box((area[0], area[1]), width, 12, fill=PAPER, radius=2)
        yield text((area[0] + width / 2, area[3] - 2.5), choice.name, size=LABEL, colour=INK, anchor="middle")


def _meet(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    is_beside = first[2] <= second[0] or second[2] <= first[0]
    return not (is_beside or first[3] <= second[1] or second[3] <= first[1])


def _legend() -> Iterator[str]:
    x, y = float(LEFT), HEIGHT - 18
    for fill, stroke, words in (
        (UNBEATEN, UNBEATEN, "within the budget, no other is faster and more accurate"),
        (BEATEN, BEATEN, "within the budget"),
        (PAPER, TAKEN, "above it"),
    ):
        yield circle((x + 5, y - 4), 5, fill=fill, stroke=stroke)
        yield text((x + 15, y), words, size=11, colour=GREY)
        x += 34 + text_width(words, 11)
