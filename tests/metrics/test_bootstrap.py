import numpy as np
import pytest

from depthwise.metrics import bootstrap_intervals


def mean_of(values):
    return {"mean": lambda weights: float(weights @ values / weights.sum())}


def test_the_mean_of_many_lies_within_two_standard_errors():
    values = np.random.default_rng(0).normal(0, 1, 400)
    found = bootstrap_intervals(mean_of(values), 400)["mean"]
    error = values.std() / 20
    assert found == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.3 * error)


def test_equal_seeds_draw_equally():
    values = np.arange(10.0)
    first, again, other = (bootstrap_intervals(mean_of(values), 10, drawings=50, seed=s)["mean"] for s in (1, 1, 2))
    assert first == again != other


def test_groups_are_drawn_as_a_whole():
    """Two groups, one of zeros and one of ones: the mean is 0, 1/2 or 1, and 0 and 1 come in a quarter each."""
    values = np.repeat([0.0, 1.0], 50)
    grouped = bootstrap_intervals(mean_of(values), 100, groups=np.repeat(["b", "a"], 50))["mean"]
    alone = bootstrap_intervals(mean_of(values), 100)["mean"]
    assert grouped == (0, 1)
    assert alone.low > 0.35 and alone.high < 0.65


def test_where_nothing_varies_nothing_is_claimed():
    assert bootstrap_intervals(mean_of(np.ones(20)), 20, drawings=20) == {"mean": None}
