"""Whether photos that are answered with 80 % are right in 80 % of the cases."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.metrics.intervals import LEVEL
from depthwise.metrics.scores import Labels

NUM_BINS = 15


class Bin(NamedTuple):
    """The photos whose answer's probability lies in [low, high); the last bin has 1, too."""

    low: float
    high: float
    num_images: int
    stated: float  # mean probability of the answers, nan without photos
    right: float  # share of right answers, nan without photos


def reliability_bins(probabilities: NDArray[np.float64], labels: Labels, num_bins: int = NUM_BINS) -> list[Bin]:
    """Return bins of equal width over the probability of the answer, for a reliability diagram (Guo et al. 2017)."""
    stated, is_right = answers_of(probabilities, labels)
    bins = _places(stated, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(bins, weights=stated, minlength=num_bins) / counts
        rights = np.bincount(bins, weights=is_right, minlength=num_bins) / counts
    edges = np.linspace(0, 1, num_bins + 1).tolist()
    return [Bin(edges[i], edges[i + 1], int(counts[i]), float(means[i]), float(rights[i])) for i in range(num_bins)]


def calibration_error(probabilities: NDArray[np.float64], labels: Labels, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error: how far the stated and the true share of right answers are apart.

    Pictures are binned by their answer's probability, in `num_bins` bins of equal width; the distance of the mean
    probability to the share of right answers in each is averaged, weighted by pictures (Naeini et al. 2015; Guo et al.
    2017, equation 3).
    """
    return binned_error(*answers_of(probabilities, labels), num_bins)


def error_by_chance(
    probabilities: NDArray[np.float64],
    groups: ArrayLike | None = None,
    *,
    level: float = LEVEL,
    drawings: int = 1000,
    seed: int = 0,
) -> float:
    """Return the calibration error that even true probabilities (N, K) exceed only with chance 1 - `level`.

    Few photos scatter around the truth, and the error adds up the distances: it is above 0 for perfect probabilities,
    and a bootstrap adds that bias once more. So right answers are drawn as the probabilities say, and the quantile of
    the errors is what so many photos show by chance (Broecker and Smith 2007, "consistency bars"). Photos of one group
    (N,) are right or wrong together, as far as their probabilities allow.
    """
    stated, rng = probabilities.max(axis=1), np.random.default_rng(seed)
    number = np.arange(len(stated)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    num_groups = int(number.max()) + 1
    errors = [
        binned_error(stated, (rng.random(num_groups)[number] < stated).astype(np.float64)) for _ in range(drawings)
    ]
    return float(np.quantile(errors, level))


def answers_of(probabilities: NDArray[np.float64], labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each picture the probability of its answer, and 1 where that is right, else 0."""
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(np.float64)


def binned_error(stated: NDArray[np.float64], is_right: NDArray[np.float64], num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error of `answers_of`'s values."""
    gaps = np.bincount(_places(stated, num_bins), weights=stated - is_right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(stated))


def _places(stated: NDArray[np.float64], num_bins: int) -> NDArray[np.intp]:
    places: NDArray[np.intp] = np.minimum((stated * num_bins).astype(np.intp), num_bins - 1)
    return places
