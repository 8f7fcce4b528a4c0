import math

import numpy as np
import pytest

from depthwise.metrics import effective_count, photos_needed, proportion_interval, share_interval, upper_bound
from depthwise.metrics.intervals import incomplete_beta, t_quantile

# scipy.stats.beta.ppf (SciPy 1.17): hits, num, level, low, high.
SCIPY = [
    (0, 300, 0.95, 0, 0.01222097469429355),
    (300, 300, 0.95, 0.9877790253057065, 1),
    (1, 10, 0.95, 0.0025285785444617865, 0.4450161170281954),
    (5, 10, 0.9, 0.22244110100812936, 0.7775588989918706),
    (181, 220, 0.95, 0.765728870579557, 0.8708005891641788),
    (9153, 10000, 0.95, 0.9096710292264609, 0.9206856964041064),
    (0, 1, 0.95, 0, 0.975),
    (3, 7, 0.99, 0.05529934998056629, 0.882296248331048),
    (59999, 60000, 0.95, 0.999907142814458, 0.9999995780366226),
    (500000, 1000000, 0.95, 0.49901951919531184, 0.5009804808046882),
]


@pytest.mark.parametrize(("hits", "num", "level", "low", "high"), SCIPY)
def test_the_interval_is_scipys(hits, num, level, low, high):
    assert proportion_interval(hits, num, level) == pytest.approx((low, high), abs=1e-10)


def test_incomplete_beta_is_scipys_and_the_closed_form():
    assert incomplete_beta(2.5, 37.25, 0.1) == pytest.approx(0.8440286419361038, rel=1e-12)  # scipy.special.betainc
    assert incomplete_beta(22, 1, 0.9) == pytest.approx(0.9**22, rel=1e-12)
    assert (incomplete_beta(3, 4, 0.0), incomplete_beta(3, 4, 1.0)) == (0, 1)


def test_no_error_in_300_photos_still_means_up_to_1_2_percent():
    assert proportion_interval(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert f"{proportion_interval(0, 300).high:.1%}" == "1.2%"
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))  # one side has all of the doubt
    assert upper_bound(300, 300) == 1


def test_the_interval_covers_as_often_as_it_says():
    """For each true share, the chance of a count whose interval holds it, summed over all counts, is at least 95 %."""
    num = 20
    intervals = [proportion_interval(hits, num) for hits in range(num + 1)]
    for share in np.linspace(0.01, 0.99, 25):
        chances = [math.comb(num, h) * share**h * (1 - share) ** (num - h) for h in range(num + 1)]
        assert sum(c for c, (low, high) in zip(chances, intervals, strict=True) if low <= share <= high) >= 0.95


@pytest.mark.parametrize(("hits", "num", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_what_is_no_count_is_refused(hits, num, level):
    with pytest.raises(ValueError, match="need 0 <= hits <= num"):
        proportion_interval(hits, num, level)


def test_photos_needed_without_errors_is_the_smallest_number_that_proves_it():
    assert photos_needed(0.01) == math.ceil(math.log(0.025) / math.log(0.99)) == 368
    assert proportion_interval(0, 368).high <= 0.01 < proportion_interval(0, 367).high


def test_photos_needed_with_errors():
    num = photos_needed(0.05, 0.03)
    assert num is not None
    assert proportion_interval(math.ceil(0.03 * num), num).high <= 0.05
    assert proportion_interval(math.ceil(0.03 * num * 0.8), int(num * 0.8)).high > 0.05
    assert photos_needed(0.05, 0.05) is None
    assert photos_needed(0.05, 0.0499) is None  # more than ten million
    with pytest.raises(ValueError, match="need an error rate above 0"):
        photos_needed(0)


def test_photos_alone_count_fully():
    assert effective_count([1, 0, 1, 1], ["a", "b", "c", "d"]) == 4


@pytest.mark.parametrize(
    ("freedom", "level", "value"),  # tables of Student's t
    [
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (4, 0.95, 2.776),
        (30, 0.95, 2.042),
        (1, 0.99, 63.657),
        (9, 0.9, 1.833),
        (10**6, 0.95, 1.960),
    ],
)
def test_t_is_that_of_the_tables(freedom, level, value):
    assert t_quantile(freedom, level) == pytest.approx(value, abs=6e-4)


def test_groups_that_always_agree_count_once_each():
    assert effective_count([1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 2, 2, 3, 3, 4, 4]) == 4
    assert effective_count([1] * 5 + [0] * 5, [1, 1, 2, 2, 2, 3, 3, 3, 4, 4]) == pytest.approx(
        100 / 26
    )  # 4 + 9 + 9 + 4


def test_groups_that_agree_in_part_count_more():
    """Six groups of four, three of them with two misses of four: p = 3/4, residues of a group 1 or -1.

    between = 6/5 x 6 / 576 = 1/80; p (1 - p) / N = 1/128; effect 1.6. Three groups tell of it: t(23) = 2.069,
    t(3) = 3.182.
    """
    hits, groups = [1, 1, 1, 1] * 3 + [1, 1, 0, 0] * 3, np.repeat(range(6), 4)
    assert effective_count(hits, groups) == pytest.approx(max(6, 24 / 1.6 * (2.069 / 3.182) ** 2), rel=1e-3)


def test_two_groups_prove_little_however_many_photos_they_have():
    """Two patients, 90 of 100 photos right of each: that they agree may be chance. t(199) = 1.972, t(1) = 12.706."""
    hits, groups = ([1] * 90 + [0] * 10) * 2, [1] * 100 + [2] * 100
    assert effective_count(hits, groups) == pytest.approx(200 * (1.972 / 12.706) ** 2, rel=1e-3)
    assert share_interval(hits, groups).low < 0.5 < share_interval(hits).low
    assert effective_count(hits[:10] + hits[-10:], [1] * 10 + [2] * 10) == 2  # one all right, one all wrong


def test_a_few_near_duplicates_cost_little():
    """216 groups of 220 photos."""
    hits = np.random.default_rng(0).random(220) < 0.8
    assert 205 < effective_count(hits, [*range(216), 0, 1, 2, 3]) < 220
    low, high = share_interval(hits, [*range(216), 0, 1, 2, 3])
    assert (low, high) == pytest.approx(share_interval(hits), abs=0.005)


def test_mistakes_in_one_group_prove_no_more_than_none():
    """Twenty groups of fifty: no mistake proves 83 %; one mistake, or ten of one group, must not prove 99 %."""
    groups, lows = np.repeat(range(20), 50), []
    for num_wrong in (0, 1, 10, 50):
        hits = np.arange(1000) >= num_wrong
        lows.append(share_interval(hits, groups).low)
    assert lows[0] == pytest.approx(proportion_interval(20, 20).low)
    assert lows == sorted(lows, reverse=True)
    assert lows[1] == pytest.approx(lows[0], abs=0.002)


def test_without_any_difference_groups_count():
    assert effective_count([1] * 8, [1, 1, 2, 2, 3, 3, 4, 4]) == 4
    assert effective_count([1, 0, 1], ["a", "a", "a"]) == 1


def test_groups_that_differ_inside_do_not_count_more_than_their_photos():
    assert effective_count([1, 0] * 50, np.repeat(range(50), 2)) == pytest.approx(100 * (1.984 / 2.010) ** 2, rel=2e-3)
