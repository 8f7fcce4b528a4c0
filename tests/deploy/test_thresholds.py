import math

import numpy as np
import pytest

from depthwise.deploy.thresholds import NEVER, set_miss_rule, set_precision_rule
from depthwise.errors import UserError
from depthwise.metrics import proportion_interval, upper_bound


def two_columns(own):
    return np.column_stack([np.array(own), 1 - np.array(own)])


def test_a_hundred_photos_allow_one_miss_for_a_promise_of_five_percent():
    """P(at most 1 of 100 missed | 5 %) = 0.95^100 + 100 x 0.05 x 0.95^99 = 0.037; with 2 it would be 0.118."""
    stated = two_columns(np.arange(1, 101) / 200)
    rule = set_miss_rule(stated, np.zeros(100, int), "sick", 0, 0.05)
    assert (rule.num_missed, rule.num_images, rule.is_promised) == (1, 100, True)
    assert rule.threshold == pytest.approx(0.01, abs=3e-6)  # the second lowest
    assert rule.bound == pytest.approx(upper_bound(1, 100))


def test_few_photos_promise_nothing_and_say_so():
    stated = two_columns([0.3, 0.5, 0.7, 0.9, 0.2, 0.6])
    labels = np.array([0, 0, 0, 0, 1, 1])
    rule = set_miss_rule(stated, labels, "sick", 0, 0.01)
    assert (rule.num_missed, rule.num_images, rule.is_promised) == (0, 4, False)
    assert rule.bound == pytest.approx(1 - 0.05**0.25)
    assert rule.threshold == pytest.approx(0.3, abs=3e-6) and rule.threshold < 0.3
    assert (rule.num_false_alarms, rule.num_others) == (1, 2)  # 0.6, not 0.2


def test_the_bound_holds_although_the_threshold_was_chosen_on_the_same_photos():
    """Over many samples, thresholds that were promised miss more than was wanted in at most 5 % of the cases."""
    rng, wanted, num = np.random.default_rng(0), 0.1, 40
    true_miss_rates = []
    for _ in range(200):
        rule = set_miss_rule(two_columns(rng.uniform(0, 1, num)), np.zeros(num, int), "sick", 0, wanted)
        assert rule.is_promised
        true_miss_rates.append(rule.threshold)  # uniform: the share below a threshold is the threshold
    assert 0.005 < np.mean(np.array(true_miss_rates) > wanted) < 0.07


def test_ten_patients_promise_less_than_four_hundred_strangers():
    stated, labels = two_columns(np.linspace(0.5, 0.9, 400)), np.zeros(400, int)
    alone = set_miss_rule(stated, labels, "sick", 0, 0.01)
    grouped = set_miss_rule(stated, labels, "sick", 0, 0.01, groups=np.arange(400) % 10)
    assert alone.is_promised and not grouped.is_promised
    assert (alone.num_groups, grouped.num_groups) == (None, 10)
    none_missed = set_miss_rule(stated, labels, "sick", 0, 0.001, groups=np.arange(400) % 10)
    assert none_missed.num_missed == 0
    assert none_missed.bound == pytest.approx(upper_bound(0, 10))  # 26 %: none of ten patients


def test_precision_that_strangers_prove_is_not_proved_by_five_groups():
    stated, is_right = np.linspace(0.99, 0.5, 400), np.ones(400, bool)
    assert set_precision_rule(stated, is_right, "cat", 0.95).is_promised
    rule = set_precision_rule(stated, is_right, "cat", 0.95, groups=np.arange(400) % 5)
    assert not rule.is_promised and rule.worth == 5
    assert rule.interval.low == pytest.approx(proportion_interval(5, 5).low)


def test_equal_probabilities_are_kept_together():
    rule = set_miss_rule(two_columns([0.4] * 5), np.zeros(5, int), "sick", 0, 0.5)
    assert rule.num_missed == 0


def test_a_class_without_photos_has_no_threshold():
    with pytest.raises(UserError, match="--positive sick: there is no validation photo"):
        set_miss_rule(two_columns([0.4]), np.array([1]), "sick", 0, 0.1)


def test_precision_keeps_the_largest_share_that_is_right_enough():
    stated = np.linspace(0.99, 0.5, 20)
    is_right = np.array([True] * 16 + [False] * 4)
    rule = set_precision_rule(stated, is_right, "cat", 0.8)
    assert (rule.num_answers, rule.num_kept, rule.num_right, rule.is_promised) == (20, 20, 16, False)
    rule = set_precision_rule(stated, is_right, "cat", 0.95)
    assert (rule.num_kept, rule.num_right) == (16, 16)
    assert stated[16] < rule.threshold < stated[15]


def test_many_photos_prove_a_precision():
    num = 1000
    stated = np.linspace(0.99, 0.5, num)
    is_right = np.arange(num) % 50 != 0  # 98 % everywhere
    rule = set_precision_rule(stated, is_right, "cat", 0.95)
    assert rule.is_promised and rule.num_kept == num
    assert upper_bound(num - rule.num_right, num, 1 - 0.05 / 10) <= 0.05


def test_no_share_is_right_enough():
    rule = set_precision_rule(np.linspace(0.99, 0.5, 20), np.zeros(20, bool), "cat", 0.9)
    assert (rule.threshold, rule.num_kept, rule.interval) == (NEVER, 0, None)
    assert set_precision_rule(np.empty(0), np.empty(0, bool), "cat", 0.9).threshold == NEVER
    assert not math.isnan(rule.threshold)
