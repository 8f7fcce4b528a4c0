import numpy as np
import pytest

from depthwise.metrics import compare_pairs, pairs_needed, proportion_interval
from depthwise.metrics.paired import connor_number


def answers(both, only_old, only_new, neither):
    old = [1] * both + [1] * only_old + [0] * only_new + [0] * neither
    new = [1] * both + [0] * only_old + [1] * only_new + [0] * neither
    return old, new


def test_a_table_of_four_counts():
    found = compare_pairs(*answers(70, 3, 10, 17))
    assert (found.num_images, found.only_old, found.only_new, found.difference) == (100, 3, 10, 0.07)
    assert found.p_value == pytest.approx(0.09228515625)  # scipy.stats.binomtest(3, 13).pvalue
    low, high = proportion_interval(10, 13, 0.96)
    often = proportion_interval(13, 100, 0.99).high
    assert low < 0.5 < high
    assert found.interval == pytest.approx(((2 * low - 1) * often, (2 * high - 1) * often))
    assert found.interval.low < 0 < found.interval.high  # as the p-value says: not separated


def test_the_other_way_round_changes_the_sign():
    old, new = answers(50, 9, 2, 10)
    there, back = compare_pairs(old, new), compare_pairs(new, old)
    assert back.difference == -there.difference
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low))
    assert back.p_value == there.p_value


@pytest.mark.parametrize(("only_old", "p_value"), [(5, 0.0625), (7, 0.015625)])
def test_interval_and_test_agree_on_what_is_worse(only_old, p_value):
    found = compare_pairs(*answers(40, only_old, 0, 4))
    assert found.p_value == pytest.approx(p_value)
    assert (found.interval.high < 0) == (p_value < 0.05)


def test_equal_answers_prove_no_equality():
    found = compare_pairs(*answers(30, 0, 0, 0))
    assert (found.difference, found.p_value) == (0, 1)
    most = 1 - 0.005 ** (1 / 30)
    assert found.interval == pytest.approx((-most, most))


def test_one_photo_lost_of_a_hundred_is_no_proof_of_little_loss():
    assert compare_pairs(*answers(80, 1, 0, 19)).interval.low < -0.04


def test_the_interval_covers_as_often_as_it_says():
    """150 samples of 60 photos: old alone right on 15 %, new alone on 5 %."""
    draws = np.random.default_rng(0).multinomial(60, (0.5, 0.15, 0.05, 0.3), 150)
    intervals = [compare_pairs(*answers(*counts)).interval for counts in draws]
    assert np.mean([low <= -0.1 <= high for low, high in intervals]) >= 0.95


def test_even_counts_have_the_p_value_1():
    assert compare_pairs(*answers(1, 7, 7, 1)).p_value == 1


def test_groups_widen():
    old, new = answers(40, 0, 20, 40)
    groups = np.repeat(range(5), 20)
    alone, grouped = compare_pairs(old, new), compare_pairs(old, new, groups)
    assert grouped.interval.low < alone.interval.low
    assert grouped.interval.high > alone.interval.high


@pytest.mark.parametrize("groups", [["a"] * 100, [*range(2)] * 50], ids=["one", "two that gain the same"])
def test_one_or_two_groups_do_not_tell_two_models_apart(groups):
    found = compare_pairs(*answers(60, 0, 40, 0), groups)
    assert compare_pairs(*answers(60, 0, 40, 0)).interval.low > 0.2
    assert not found.tells_apart
    assert found.interval.low < -0.5 and found.interval.high > 0.9


def test_the_interval_covers_as_often_as_it_says_with_few_groups():
    """150 samples of 6 patients with 30 photos: on each, the new model gains or loses on up to a third of them."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        gains = rng.uniform(-1 / 3, 1 / 3, 6).repeat(30)
        is_apart = rng.random(180) < np.abs(gains)
        new = np.where(is_apart, gains > 0, True)
        low, high = compare_pairs(new ^ is_apart, new, np.repeat(range(6), 30)).interval
        covered.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.95


@pytest.mark.parametrize(
    ("only_old", "only_new", "needed"),
    [
        (0.45, 0.05, 23),  # powerandsamplesize.com, McNemar's Z-test, 2-sided
        (0.30, 0.15, 155),  # clinicaltrials-tools.vercel.app, McNemar's test
        (0.50, 0.20, 59),  # R's TrialSize, example 6.4.3 of Chow, Shao and Wang (2003)
    ],
)
def test_connor_s_number_is_what_others_compute(only_old, only_new, needed):
    assert np.ceil(connor_number(only_old, only_new, 0.95, 0.8)) == needed
    assert np.ceil(connor_number(only_new, only_old, 0.95, 0.8)) == needed


def test_so_many_photos_tell_two_models_apart_in_four_of_five_comparisons():
    """Connor's own number, 155, does so in 73 % of 3,000 drawings: whole counts need more."""
    needed = pairs_needed(compare_pairs(*answers(70, 5, 15, 10)))
    draws = np.random.default_rng(0).multinomial(needed, (0.7, 0.05, 0.15, 0.1), 100)
    is_told = [compare_pairs(*answers(*counts)).tells_apart for counts in draws]
    assert np.mean(is_told) == pytest.approx(0.8, abs=0.06)


def test_no_number_of_photos_shows_a_difference_that_is_not_there():
    assert pairs_needed(compare_pairs(*answers(30, 4, 4, 2))) is None
    assert pairs_needed(compare_pairs(*answers(30, 0, 0, 0))) is None
