"""Is one model better than another? Asked photo by photo, which needs far fewer photos than two accuracies apart."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from depthwise.metrics.intervals import LEVEL, Interval, incomplete_beta, share_interval

SIGN = 0.8
"""Share of the doubt that goes to which model is better; the rest goes to how often they differ."""
POWER = 0.8
"""How often so many photos show a difference that is there."""


class Paired(NamedTuple):
    """Two models on the same photos."""

    num_images: int
    only_old: int  # photos that only the old model has right
    only_new: int  # photos that only the new model has right
    difference: float  # accuracy of the new minus accuracy of the old
    interval: Interval  # of the difference
    p_value: float  # chance of so uneven a pair of counts, or a more uneven one, between equally good models
    num_groups: int | None = (
        None  # independent pieces that the photos are; None: each stands alone, as p_value takes them
    )

    @property
    def tells_apart(self) -> bool:
        """Whether the interval shows which one is better."""
        return self.interval.low > 0 or self.interval.high < 0


def compare_pairs(old: ArrayLike, new: ArrayLike, groups: ArrayLike | None = None, level: float = LEVEL) -> Paired:
    """Return how `new` (N,) differs from `old` (N,): for each photo, whether that model has it right; N above 0.

    Photos that both have right, or both wrong, say nothing on which is better. The m others are a share r of all N, and
    the new model wins a share q of them: the difference is (2 q - 1) r. q and r have Clopper-Pearson intervals, which
    together err in 1 - level of all cases at most (four fifths of that for q, which decides the sign, one for r).
    `groups` (N,): photos with the same value are not independent; both intervals then count as many photos as they are
    worth (`effective_count`). The p-value is that of the two-sided binomial test of q = 1/2, McNemar's test (1947) in
    its exact form, which takes all photos for independent.
    """
    first, second = np.asarray(old, bool), np.asarray(new, bool)
    only_old, only_new = int((first & ~second).sum()), int((~first & second).sum())
    num, apart, doubt = len(first), first != second, 1 - level
    theirs = None if groups is None else np.asarray(groups)[apart]
    wins = share_interval(second[apart], theirs, 1 - SIGN * doubt) if apart.any() else Interval(0.0, 1.0)
    rare, often = share_interval(apart, groups, 1 - (1 - SIGN) * doubt)
    low, high = (2 * end - 1 for end in wins)
    interval = Interval(low * (often if low < 0 else rare), high * (often if high > 0 else rare))
    num_groups = None if groups is None else len(np.unique(np.asarray(groups)))
    chance = _sign_test(only_old, only_new)
    return Paired(num, only_old, only_new, (only_new - only_old) / num, interval, chance, num_groups)


def pairs_needed(found: Paired, level: float = LEVEL, power: float = POWER) -> int | None:
    """Return how many photos would tell the two models apart, if they differ as here; None where they do not differ.

    With probability `power` the interval of `compare_pairs` then lies on one side of 0: Connor's number, with the
    correction for continuity that an exact test of counts asks for. It is for independent photos, and only as good as
    the two shares that were observed.
    """
    old, new = found.only_old / found.num_images, found.only_new / found.num_images
    if old == new:
        return None
    plain = connor_number(old, new, 1 - SIGN * (1 - level), power)
    return math.ceil(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * abs(new - old)))) ** 2)


def connor_number(only_old: float, only_new: float, level: float, power: float) -> float:
    """Return how many pairs McNemar's test needs, two-sided at 1 - `level`, to find unequal shares with `power`.

    Connor (1987), Biometrics 43:207-211: of all pairs, the shares `only_old` and `only_new` are right on one side only.
    """
    apart, difference = only_old + only_new, abs(only_new - only_old)
    certain, often = (NormalDist().inv_cdf(share) for share in ((1 + level) / 2, power))
    return ((certain * math.sqrt(apart) + often * math.sqrt(apart - difference**2)) / difference) ** 2


def _sign_test(first: int, second: int) -> float:
    """Return the two-sided probability of a split of `first + second` throws of a coin at least so uneven."""
    most, least = max(first, second), min(first, second)
    return min(1.0, 2 * incomplete_beta(most, least + 1, 0.5)) if most else 1.0
