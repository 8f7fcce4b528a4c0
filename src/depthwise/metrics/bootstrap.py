"""Intervals for numbers that are no simple share: the percentile bootstrap (Efron 1979), seeded, by group.

Photos are drawn with replacement as often as there are; a drawing is kept as how often each photo came (its weight),
so that statistics are weighted sums. Photos of one group come together.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.metrics.intervals import LEVEL, Interval

Weights = NDArray[np.float64]
DRAWINGS = 1000


def bootstrap_intervals(
    statistics: Mapping[str, Callable[[Weights], float]],
    num_images: int,
    *,
    groups: ArrayLike | None = None,
    drawings: int = DRAWINGS,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Return an interval for each statistic, a function of how often each of the (N,) photos counts.

    None where all drawings give the same: what is not among the photos, a bootstrap cannot show, and no mistake in 50
    photos is no proof of none. `groups` (N,): names of what is drawn as a whole; of fewer than about ten the intervals
    are too narrow.
    """
    number = np.arange(num_images) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    num_groups = int(number.max()) + 1
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(drawings):
        times = np.bincount(rng.integers(0, num_groups, num_groups), minlength=num_groups)
        weights = times[number].astype(np.float64)
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    tail = (1 - level) / 2
    return {name: _between(np.array(values), tail) for name, values in found.items()}


def _between(values: NDArray[np.float64], tail: float) -> Interval | None:
    kept = values[np.isfinite(values)]
    if not len(kept) or np.ptp(kept) < 1e-12:
        return None
    low, high = np.quantile(kept, (tail, 1 - tail))
    return Interval(float(low), float(high))
