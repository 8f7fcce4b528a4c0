"""The learning-rate range test: a rate that rises from step to step, and what the loss makes of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from depthwise.errors import Diverged
from depthwise.training.loop import Loop

MEMORY = 0.95
"""Share of the old mean in the smoothed loss: about the last 20 steps count."""
DIVERGED = 1.1
"""Times its lowest at which the smoothed loss has diverged. Batch norm keeps broken networks from much more."""
NOISY = 0.1
"""Share of the steps in which the smoothed loss is a mean of too few to tell."""


class Point(NamedTuple):
    """One step of the sweep."""

    lr: float
    loss: float
    """Of the step's pictures, before the step."""
    smooth: float
    """Mean over the steps so far, the last ones counting most."""


@dataclass(frozen=True)
class Sweep(Loop):
    """A loop whose learning rate rises by the same factor in each step, from `low` to `high`."""

    low: float = field(kw_only=True)
    high: float = field(kw_only=True)
    num_steps: int = field(kw_only=True)

    def lr(self, step: int) -> float:
        """Return the learning rate of step 0 ... num_steps - 1."""
        return rising(step, self.num_steps, self.low, self.high)

    def points(self) -> Iterator[Point]:
        """Take the steps, epoch after epoch; end early once the smoothed loss has diverged, or a loss is no number.

        Smith 2017, arXiv:1506.01186, section 3.3, with a rate that rises exponentially, so that all its powers of ten
        get as many steps. Changes the state: give it one of its own.
        """
        mean, best = 0.0, math.inf
        try:
            while self.state.step < self.num_steps:
                for report in self.steps():
                    mean = MEMORY * mean + (1 - MEMORY) * report.loss
                    smooth = mean / (1 - MEMORY**report.step)  # as if the mean had begun with the first loss
                    best = min(best, smooth)
                    yield Point(self.lr(report.step - 1), report.loss, smooth)
                    has_diverged = smooth > DIVERGED * best and report.step > NOISY * self.num_steps
                    if has_diverged or report.step == self.num_steps:
                        return
                self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        except Diverged:
            return


def rising(step: int, num_steps: int, low: float, high: float) -> float:
    """Return low * (high / low)^(step / (num_steps - 1))."""
    return float(low * (high / low) ** (step / (num_steps - 1)))


def suggest(points: Sequence[Point]) -> float | None:
    """Return the learning rate at which the smoothed loss falls most steeply over ln(lr), before its lowest.

    Slopes are taken over a tenth of the points. None where it never falls. The steepest place leaves a margin to the
    rate at which training breaks; it is the usual reading of the plot.
    """
    reach = max(1, len(points) // 20)
    lowest = min(range(len(points)), key=lambda number: points[number].smooth, default=0)
    slopes = [  # all steps are equally wide in ln(lr)
        (points[number + reach].smooth - points[number - reach].smooth, number)
        for number in range(reach, lowest + 1 - reach)
    ]
    slope, number = min(slopes, default=(0.0, 0))
    return points[number].lr if slope < 0 else None
