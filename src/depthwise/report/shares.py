"""Shares and their intervals, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from depthwise.deploy.outcome import Count
    from depthwise.metrics import Interval


def count_text(count: Count) -> str:
    """Return e.g. `3 of 220 (1.4%; 0.3 to 3.9%)`."""
    if count.share is None:
        return "none to count"
    return f"{count.hits:,} of {count.num:,} ({count.share:.1%}; {interval_text(count.interval)})"


def share_text(share: float) -> str:
    """Return a percentage, or - for nan."""
    return "-" if np.isnan(share) else f"{share:.1%}"


def fine_text(share: float, digits: int = 2) -> str:
    """Return a percentage with so many digits that count, and one after the point at least: 10.0%, 0.050%."""
    power = int(f"{100 * share:.{digits - 1}e}".partition("e")[2])
    return f"{share:.{max(1, digits - 1 - power)}%}"


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Return two percentages with as many digits as show that they differ: 1.000% and 1.004%."""
    texts = [(fine_text(first, digits), fine_text(second, digits)) for digits in range(2, 16)]
    return next((pair for pair in texts if pair[0] != pair[1]), texts[-1])


def interval_text(interval: Interval | None) -> str:
    """Return e.g. `76.6 to 87.1%`, or - for none."""
    return "-" if interval is None else f"{100 * interval.low:.1f} to {interval.high:.1%}"


def number_text(interval: Interval | None) -> str:
    """Return e.g. `0.476 to 0.681`, or - for none."""
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
