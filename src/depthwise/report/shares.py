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


def interval_text(interval: Interval | None) -> str:
    """Return e.g. `76.6 to 87.1%`, or - for none."""
    return "-" if interval is None else f"{100 * interval.low:.1f} to {interval.high:.1%}"


def number_text(interval: Interval | None) -> str:
    """Return e.g. `0.476 to 0.681`, or - for none."""
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
