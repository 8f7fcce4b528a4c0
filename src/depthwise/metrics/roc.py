"""How well a score tells two kinds of photos apart, whatever the threshold."""

import numpy as np
from numpy.typing import ArrayLike


def auroc(higher: ArrayLike, lower: ArrayLike) -> float:
    """Return the chance that a score of `higher` is above one of `lower`, equals counted half: the area under the ROC.

    0.5: the score tells nothing. By ranks (Mann and Whitney 1947). Raises ValueError when one side is empty.
    """
    high, low = np.asarray(higher, np.float64), np.sort(np.asarray(lower, np.float64))
    if not len(high) or not len(low):
        raise ValueError("auroc needs scores on both sides")
    below, not_above = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + not_above).mean() / (2 * len(low)))
