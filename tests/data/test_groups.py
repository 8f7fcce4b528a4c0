import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.data.groups import group_up, grow

PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)).filter(lambda p: p[0] < p[1]), max_size=30)
FIXED = st.dictionaries(st.integers(0, 29), st.sampled_from(["train", "valid", "test"]), max_size=20)


def test_equal_alike_and_ruled_pictures_are_one_group():
    grouping = group_up(8, equal=[(0, 1)], alike=[(1, 2)], ruled=[[2, 5], [6, 7]])
    assert grouping.labels == [0, 0, 0, 3, 4, 0, 6, 6]
    assert grouping.too_large == []


@pytest.mark.parametrize(("length", "is_kept"), [(10, True), (11, False)])
def test_a_chain_of_more_than_ten_is_reported_and_not_merged(length, is_kept):
    chain = [(place, place + 1) for place in range(length - 1)]
    grouping = group_up(100, equal=[], alike=chain, ruled=[])
    assert (len(set(grouping.labels)) == 100 - length + 1) == is_kept
    assert grouping.too_large == ([] if is_kept else [list(range(length))])


def test_a_burst_of_which_most_pairs_are_confirmed_stays_together_and_its_kind_does_not():
    burst = [(i, j) for i in range(12) for j in range(i + 1, 12) if (i + j) % 3]
    assert group_up(92, equal=[], alike=burst, ruled=[]).too_large == []
    kind = [(i, j) for i in range(51) for j in range(i + 1, 51)]
    assert group_up(92, equal=[], alike=kind, ruled=[]).too_large == [list(range(51))]


@pytest.mark.parametrize(("length", "is_kept"), [(20, True), (21, False)])
def test_of_a_thousand_pictures_two_percent_may_be_one_shot(length, is_kept):
    grouping = group_up(1000, equal=[], alike=[(0, place) for place in range(1, length)], ruled=[])
    assert (grouping.too_large == []) == is_kept


def test_equal_pictures_stay_together_however_many_and_so_do_the_user_s_groups():
    grouping = group_up(100, equal=[(0, n) for n in range(1, 40)], alike=[(40, 41)], ruled=[list(range(50, 99))])
    assert len(set(grouping.labels)) == 100 - 39 - 1 - 48
    assert grouping.too_large == []


def test_of_a_chain_that_is_too_large_equal_ones_stay_together():
    chain = [(place, place + 1) for place in range(20)]
    grouping = group_up(100, equal=[(3, 4)], alike=[*chain], ruled=[])
    assert grouping.labels[4] == 3
    assert len(set(grouping.labels)) == 99
    assert grouping.too_large == [list(range(21))]


def test_a_new_picture_goes_where_its_likes_are():
    growth = grow(5, [(0, 1), (1, 2), (3, 4)], [], {0: "test"})
    assert growth.places == {1: "test", 2: "test"}
    assert growth.torn == {}


def test_a_new_picture_between_two_splits_is_torn_and_its_other_likes_are_not():
    growth = grow(5, [(0, 2), (1, 2), (2, 3), (1, 4)], [], {0: "train", 1: "test"})
    assert growth.torn == {2: ["test", "train"]}
    assert growth.places == {4: "test"}


def test_a_chain_of_new_pictures_between_two_splits_is_torn_whole():
    growth = grow(4, [(0, 2), (2, 3), (3, 1)], [], {0: "train", 1: "test"})
    assert growth == ({}, {2: ["test", "train"], 3: ["test", "train"]})


def test_a_group_by_rule_counts_as_likeness():
    assert grow(4, [], [[0, 3]], {0: "valid"}).places == {3: "valid"}
    assert grow(4, [], [[0, 1, 3]], {0: "valid", 1: "test"}).torn == {3: ["test", "valid"]}


@given(PAIRS, FIXED)
def test_no_pair_is_torn_apart_by_a_new_picture(pairs, fixed):
    growth = grow(30, pairs, [], fixed)
    placed = {**fixed, **growth.places}
    assert not set(growth.places) & set(fixed)
    assert not set(growth.torn) & set(placed)
    for first, second in pairs:
        if first in growth.torn or second in growth.torn or (first in fixed and second in fixed):
            continue
        assert placed.get(first) == placed.get(second)
