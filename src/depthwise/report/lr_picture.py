"""The learning-rate sweep as a picture: loss over learning rate, with the suggestion."""

from __future__ import annotations

import math
from collections.abc import Iterator

from depthwise.report.svg import GREY, Point, circle, document, line, text
from depthwise.workflows.finding_lr import Finding

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 66, WIDTH - 30, 72, HEIGHT - 56
GRID, SMOOTH, RAW, CHOSEN = "#e4e7eb", "#2a8a74", "#c3d9d2", "#b8493c"
ABOVE = 1.15
"""Times the first smoothed loss at which the picture ends: how far a broken loss goes tells nothing."""


class Scale:
    """From learning rate (logarithmic) and loss to places in the picture."""

    def __init__(self, found: Finding) -> None:
        self.lr = found.points[0].lr, found.points[-1].lr
        smooth = [point.smooth for point in found.points]
        self.top = ABOVE * max(smooth[: len(smooth) // 2 + 1])
        self.bottom = min(0.95 * min(smooth), 0.99 * self.top)

    def at(self, lr: float, loss: float) -> Point:
        """Return the place of a loss at a learning rate; a loss above the picture lies on its edge."""
        low, high = map(math.log, self.lr)
        share = (math.log(lr) - low) / ((high - low) or 1.0)
        height = (min(max(loss, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)
        return LEFT + share * (RIGHT - LEFT), BOTTOM - height * (BOTTOM - TOP)


def draw_lr(found: Finding) -> str:
    """Return the picture as an SVG file."""
    scale = Scale(found)
    raw = line([scale.at(point.lr, point.loss) for point in found.points], colour=RAW, width=1, bend=0)
    smooth = line([scale.at(point.lr, point.smooth) for point in found.points], colour=SMOOTH, width=2, bend=0)
    elements = [*_frame(found, scale), raw, smooth, *_suggestion(found, scale)]
    return document(WIDTH, HEIGHT, "Loss while the learning rate rises", elements)


def _frame(found: Finding, scale: Scale) -> Iterator[str]:
    yield text((LEFT, 28), "Loss while the learning rate rises", size=18, is_bold=True)
    ending = ", ended where the loss diverged" if found.has_diverged else ""
    note = f"{found.model}, {found.optimizer}, {len(found.points)} steps{ending}. Pale: each step; dark: smoothed."
    yield text((LEFT, 48), note, colour=GREY)
    powers = range(math.ceil(math.log10(scale.lr[0]) - 1e-9), math.floor(math.log10(scale.lr[1]) + 1e-9) + 1)
    for power in powers:
        x, _ = scale.at(10.0**power, scale.top)
        yield line([(x, TOP), (x, BOTTOM)], colour=GRID, width=1)
        yield text((x, BOTTOM + 18), f"{10.0**power:g}", size=11, colour=GREY, anchor="middle")
    for number in range(5):
        loss = scale.bottom + number / 4 * (scale.top - scale.bottom)
        _, y = scale.at(scale.lr[0], loss)
        yield line([(LEFT, y), (RIGHT, y)], colour=GRID, width=1)
        yield text((LEFT - 8, y + 4), f"{loss:.3g}", size=11, colour=GREY, anchor="end")
    yield text(((LEFT + RIGHT) / 2, HEIGHT - 16), "learning rate", size=11, colour=GREY, anchor="middle")


def _suggestion(found: Finding, scale: Scale) -> Iterator[str]:
    chosen = next((point for point in found.points if point.lr == found.suggestion), None)
    if chosen is None:
        return
    x, y = scale.at(chosen.lr, chosen.smooth)
    yield line([(x, TOP), (x, BOTTOM)], colour=CHOSEN, dashes="5 4")
    yield circle((x, y), 5, fill=CHOSEN, stroke=CHOSEN)
    yield text((x, TOP - 6), f"steepest: {chosen.lr:.2g}", size=11, colour=CHOSEN, anchor="middle")
