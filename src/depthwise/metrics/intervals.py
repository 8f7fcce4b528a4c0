"""What a count says about the share behind it: exact intervals, without SciPy.

Clopper and Pearson (1934): the ends are quantiles of beta distributions. The regularised incomplete beta function is
computed by its continued fraction (DLMF 8.17.22) and inverted by bisection.
"""

import math
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
TINY = 1e-300
MOST_PHOTOS = 10_000_000
"""Beyond so many nobody asks."""


class Interval(NamedTuple):
    """Where a number may well lie."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """From end to end."""
        return self.high - self.low


def proportion_interval(hits: float, num: float, level: float = LEVEL) -> Interval:
    """Return the Clopper-Pearson interval of a share, from `hits` of `num`.

    Both ends err with (1 - level) / 2 at most: no error in 300 photos means up to 1.2 %. Raises ValueError unless
    0 <= hits <= num, num > 0 and 0 < level < 1. Fractions are taken too (see `effective_count`).
    """
    _check(hits, num, level)
    tail = (1 - level) / 2
    return Interval(_low(hits, num, tail), 1 - _low(num - hits, num, tail))


def upper_bound(hits: float, num: float, level: float = LEVEL) -> float:
    """Return the share that with certainty `level` is not exceeded, from `hits` of `num`: the one-sided bound."""
    _check(hits, num, level)
    return 1 - _low(num - hits, num, 1 - level)


def photos_needed(target: float, observed: float = 0.0, level: float = LEVEL) -> int | None:
    """Return how many photos prove an error rate of at most `target`, if the share `observed` of them is wrong.

    Proved: the upper end of `proportion_interval` is at most `target`. With `observed` above 0 it is about so many:
    photos are wrong as a whole, so that a few fewer may do, or a few more fall short. None when no number (below ten
    million) does: `observed` is not below `target`, or too close. Raises ValueError unless 0 < target < 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"target={target}: need an error rate above 0 and below 1")

    def is_proved(num: int) -> bool:
        wrong = math.ceil(observed * num)
        return wrong < num and incomplete_beta(num - wrong, wrong + 1, 1 - target) <= (1 - level) / 2

    if observed >= target or not is_proved(MOST_PHOTOS):
        return None
    fails, proves = 0, 1
    while not is_proved(proves):
        fails, proves = proves, 2 * proves
    while proves - fails > 1:
        middle = (fails + proves) // 2
        fails, proves = (fails, middle) if is_proved(middle) else (middle, proves)
    return proves


def share_bound(is_hit: ArrayLike, groups: ArrayLike | None = None, level: float = LEVEL) -> float:
    """Return the share of hits that with certainty `level` is not exceeded, from (N,) photos, N above 0."""
    return upper_bound(*_counted(np.asarray(is_hit, bool), groups, LEVEL), level)


def share_interval(is_hit: ArrayLike, groups: ArrayLike | None = None, level: float = LEVEL) -> Interval:
    """Return the interval of the share of hits among (N,) photos, N above 0; those of one group are not independent."""
    return proportion_interval(*_counted(np.asarray(is_hit, bool), groups, level), level)


def _counted(hits: NDArray[np.bool_], groups: ArrayLike | None, level: float) -> tuple[float, float]:
    """Return hits and photos, or as many independent ones as they are worth."""
    if groups is None:
        return int(hits.sum()), len(hits)
    worth = effective_count(hits, groups, level)
    return float(hits.mean()) * worth, worth


def effective_count(is_hit: ArrayLike, groups: ArrayLike, level: float = LEVEL) -> float:
    """Return how many independent photos (N,) photos in G groups are worth for the share of hits, from 1 to N.

    Photos of one group (one patient, one burst) tell less than so many strangers. N over the design effect, which is
    the variance of the share between groups over that of independent photos, here 1 or more; and as few groups tell
    that variance badly, times the square of t(N - 1) / t(D), quantiles of Student's t for `level` (Korn and Graubard
    1998). D is G - 1 there; here it is at most the number of groups that hold what is rarer, hits or misses, since the
    others tell nothing of whether these come together. At least N^2 over the sum of squared sizes (Kish 1965): so many
    are groups worth in which all photos agree, and the answer where at most one group has anything rare.
    """
    hits = np.asarray(is_hit, np.float64)
    _, number, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    num_groups, share = len(sizes), float(hits.mean())
    least = len(hits) ** 2 / float((sizes.astype(np.float64) ** 2).sum())
    num_telling = len(np.unique(number[hits == (share <= 0.5)]))
    if num_groups == len(hits) or min(num_telling, num_groups - 1, share, 1 - share) == 0 or num_telling == 1:
        return least
    sums = np.bincount(number, weights=hits - share)
    between = num_groups / (num_groups - 1) * float((sums**2).sum()) / len(hits) ** 2
    effect = max(1.0, between * len(hits) / (share * (1 - share)))
    doubt = t_quantile(min(num_groups - 1, num_telling), level) / t_quantile(len(hits) - 1, level)
    return max(least, len(hits) / effect / doubt**2)


def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Return the t between whose -t and t Student's t with so many degrees of freedom lies with chance `level`."""
    share = _beta_quantile(0.5, freedom / 2, level)  # t^2 / (freedom + t^2) is a Beta(1/2, freedom/2) number
    return math.sqrt(freedom * share / (1 - share))


def _check(hits: float, num: float, level: float) -> None:
    if not (0 <= hits <= num and num > 0 and 0 < level < 1):
        raise ValueError(f"hits={hits}, num={num}, level={level}: need 0 <= hits <= num, num > 0, 0 < level < 1")


def _low(hits: float, num: float, tail: float) -> float:
    """Return the share at which `hits` or more of `num` has the probability `tail`: a quantile of Beta(h, n-h+1)."""
    return _beta_quantile(hits, num - hits + 1, tail) if hits else 0.0


def _beta_quantile(a: float, b: float, chance: float) -> float:
    """Return the x with I_x(a, b) = `chance`, to 1e-13."""
    low, high = 0.0, 1.0
    while high - low > 1e-13:
        middle = (low + high) / 2
        low, high = (low, middle) if incomplete_beta(a, b, middle) > chance else (middle, high)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return I_x(a, b), the probability that a Beta(a, b) number is at most x; a, b > 0, 0 <= x <= 1."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on one side only (DLMF 8.17.4)
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a / _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1 / (1 + d2 / (1 + ...)) with the d of DLMF 8.17.23 by Lentz's method."""
    value, above, below = 1.0, 1.0, 0.0
    for number in count(1):
        step = _step(a, b, x, number)
        below = 1 / _not_zero(1 + step * below)
        above = _not_zero(1 + step / above)
        value *= above * below
        if abs(above * below - 1) < 1e-14:
            break
    return value


def _step(a: float, b: float, x: float, number: int) -> float:
    m = number // 2
    if number % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
