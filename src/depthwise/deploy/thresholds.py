"""Thresholds from validation photos, and what so many photos can promise. NumPy only."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.errors import UserError
from depthwise.metrics import Interval, Labels, effective_count, proportion_interval, share_bound
from depthwise.metrics.intervals import LEVEL

Values = NDArray[np.float64]
NEVER = 2.0
"""A threshold that no probability reaches: no answer of this class is sure enough."""
STEPS = 10
"""Shares of a class's answers that are tried for a wanted precision: all of them, 9 in 10, ... 1 in 10."""


@dataclass(frozen=True)
class MissRule:
    """A photo is answered with the class `label` when its probability is at least `threshold`, whatever the others."""

    label: str
    threshold: float
    max_miss_rate: float
    """Wanted: of the photos of this class, the share that may be answered otherwise."""
    num_images: int
    """Validation photos of the class."""
    num_missed: int
    """Of them, those below the threshold."""
    bound: float
    """Miss rate that is not exceeded with certainty 95 %, by these photos."""
    num_others: int
    num_false_alarms: int
    """Of the other classes' photos, those that reach the threshold."""
    num_groups: int | None = None
    """Independent pieces that the photos of the class come from; None: each photo stands alone."""

    @property
    def is_promised(self) -> bool:
        """Whether the validation photos suffice to promise what was wanted."""
        return self.bound <= self.max_miss_rate

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def set_miss_rule(
    probabilities: Values,
    labels: Labels,
    label: str,
    number: int,
    max_miss_rate: float,
    groups: ArrayLike | None = None,
) -> MissRule:
    """Return the highest threshold of class `number` that keeps its misses within `max_miss_rate`.

    Of the n photos of the class, sorted by its probability (N, K), the threshold is the k-th lowest: then k - 1 are
    missed here, and the chance to miss another photo is distributed as Beta(k, n - k + 1), whatever the model and the
    photos (Wilks 1941). So the bound holds although the threshold was chosen on the same photos. Where even k = 1
    promises too little, the threshold is that of the last k with at most the wanted share missed, and the bound says
    what it is worth. `groups` (N,): photos with the same value are not independent; bounds then count as many photos
    as they are worth (`effective_count`). Raises UserError when there is no photo of the class.
    """
    own = probabilities[labels == number, number]
    if not len(own):
        raise UserError(f"--positive {label}: there is no validation photo of this class to set its threshold on")
    named = None if groups is None else np.unique(np.asarray(groups)[labels == number], return_inverse=True)[1]
    ordered, allowed = np.sort(own), int(max_miss_rate * len(own) + 1e-9)
    tries = ((k, share_bound(own < ordered[k], named)) for k in range(allowed, -1, -1))
    missed = next((k for k, bound in tries if bound <= max_miss_rate), allowed)
    threshold = _rounded_down(float(ordered[missed]))
    others, is_missed = probabilities[labels != number, number], own < threshold  # equal probabilities are not missed
    return MissRule(
        label=label,
        threshold=threshold,
        max_miss_rate=max_miss_rate,
        num_images=len(own),
        num_missed=int(is_missed.sum()),
        bound=share_bound(is_missed, named),
        num_others=len(others),
        num_false_alarms=int((others >= threshold).sum()),
        num_groups=None if named is None else int(named.max()) + 1,
    )


@dataclass(frozen=True)
class PrecisionRule:
    """Answers of the class `label` below `threshold` are rejected."""

    label: str
    threshold: float
    min_precision: float
    """Wanted: of the answers of this class that are kept, the share that is right."""
    num_answers: int
    """Validation photos that were answered with the class."""
    num_kept: int
    num_right: int
    """Of the kept ones."""
    is_promised: bool
    """Whether the validation photos prove it with certainty 95 %."""
    worth: float | None = None
    """How many independent photos the kept ones are worth; None: each photo stands alone."""

    @property
    def interval(self) -> Interval | None:
        """Precision of the kept answers, as far as these photos tell; None when none is kept."""
        if not self.num_kept:
            return None
        scale = 1 if self.worth is None else self.worth / self.num_kept
        return proportion_interval(self.num_right * scale, self.num_kept * scale)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def set_precision_rule(
    stated: Values, is_right: NDArray[np.bool_], label: str, min_precision: float, groups: ArrayLike | None = None
) -> PrecisionRule:
    """Return the threshold for answers of one class: `stated` (N,) their probabilities, `groups` as above.

    The largest of ten shares of the surest answers (all, 9 in 10, ...) whose lower bound is at least `min_precision`,
    the bound's doubt divided by the ten tries (Bonferroni); where no share proves it, the largest share whose precision
    is that high here; else NEVER.
    """
    order = np.argsort(-stated, kind="stable")
    sure, right = stated[order], is_right[order]
    named = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1][order]
    tries = []
    for step in range(STEPS, 0, -1):
        num = -(-len(sure) * step // STEPS)
        threshold = _rounded_down(float(sure[num - 1])) if num else NEVER
        kept = int((sure >= threshold).sum())
        tries.append((threshold, kept, int(right[:kept].sum())))
    tries = [(threshold, kept, hits) for threshold, kept, hits in tries if kept]
    doubt = (1 - LEVEL) / STEPS
    proved = [
        t
        for t in tries
        if share_bound(~right[: t[1]], None if named is None else named[: t[1]], 1 - doubt) <= 1 - min_precision
    ]
    seen = [t for t in tries if t[2] >= min_precision * t[1]]
    threshold, kept, hits = (proved or seen or [(NEVER, 0, 0)])[0]
    worth = effective_count(right[:kept], named[:kept]) if named is not None and kept else None
    return PrecisionRule(label, threshold, min_precision, len(sure), kept, hits, bool(proved), worth)


def _rounded_down(threshold: float) -> float:
    """Return the threshold a little lower, in six digits: another engine's rounding must not push a photo below it."""
    return float(np.floor((threshold - 1e-6) * 1e6) / 1e6)
