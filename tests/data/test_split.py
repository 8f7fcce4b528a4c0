from collections import Counter, defaultdict
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.config import SplitConfig
from depthwise.data.split import SPLITS, fold_of, stratified_split
from depthwise.errors import UserError

SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.sampled_from([0.05, 0.1, 0.15, 0.2, 0.33, 0.45])


def content(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:32]


def singles(sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """Hashes and classes of pictures that are all different."""
    labels = [name for name, size in sizes.items() for _ in range(size)]
    return [content(number) for number in range(len(labels))], labels


@st.composite
def pictures_with_copies(draw: st.DrawFn) -> list[tuple[str, str]]:
    """(hash, class) of 1 to 3 classes, 3 to 30 different pictures each, every one up to four times."""
    copies = draw(st.lists(st.lists(st.integers(1, 4), min_size=3, max_size=30), min_size=1, max_size=3))
    return [
        (content(1000 * number + index), f"class {number}")
        for number, counts in enumerate(copies)
        for index, count in enumerate(counts)
        for _ in range(count)
    ]


def split(pictures: list[tuple[str, str]], seed: int = 0, valid: float = 0.15, test: float = 0.15) -> list[str]:
    hashes, classes = zip(*pictures, strict=True)
    return stratified_split(hashes, classes, valid=valid, test=test, seed=seed)


@given(pictures_with_copies(), SEEDS, FRACTIONS, FRACTIONS)
def test_every_picture_is_placed_once_and_its_copies_with_it(pictures, seed, valid, test):
    places = split(pictures, seed, valid, test)
    sides = defaultdict(set)
    for (hash_, _), place in zip(pictures, places, strict=True):
        assert place in SPLITS
        sides[hash_].add(place)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize("seed", range(20))
def test_one_large_group_takes_no_split_over(seed):
    pictures = [(content(0), "a")] * 80 + [(content(number), "a") for number in range(1, 21)]
    assert Counter(split(pictures, seed)) == {"train": 80, "test": 15, "valid": 5}


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_any_size_leave_a_split_about_its_share(seed):
    """A dozen patients of 3 to 60 photos."""
    sizes = [3, 5, 8, 12, 18, 20, 25, 30, 40, 45, 55, 60]
    pictures = [(content(number), "a") for number, size in enumerate(sizes) for _ in range(size)]
    found = Counter(split(pictures, seed))
    goal = 0.15 * len(pictures)
    assert all(abs(found[side] - goal) < goal for side in ("valid", "test"))
    assert found["train"] > 0.5 * len(pictures)


def test_where_only_large_groups_are_left_the_smallest_make_up_the_minimum():
    pictures = [(content(number), "a") for number, size in enumerate((100, 90, 80, 70)) for _ in range(size)]
    found = split(pictures, valid=0.1, test=0.1)
    assert Counter(found) == {"train": 190, "test": 70, "valid": 80}


@given(pictures_with_copies(), SEEDS, FRACTIONS, FRACTIONS)
def test_every_split_gets_something_of_every_class(pictures, seed, valid, test):
    places = split(pictures, seed, valid, test)
    present = {(label, place) for (_, label), place in zip(pictures, places, strict=True)}
    assert present == {(label, place) for _, label in pictures for place in SPLITS}


@given(st.lists(st.integers(3, 60), min_size=1, max_size=4), SEEDS, FRACTIONS, FRACTIONS)
def test_every_split_has_each_class_s_share(sizes, seed, valid, test):
    hashes, classes = singles({str(index): size for index, size in enumerate(sizes)})
    places = stratified_split(hashes, classes, valid=valid, test=test, seed=seed)
    counts = Counter(zip(classes, places, strict=True))
    for index, size in enumerate(sizes):
        num_test, num_valid = max(1, round(test * size)), max(1, round(valid * size))
        if num_test + num_valid < size:
            assert (counts[str(index), "test"], counts[str(index), "valid"]) == (num_test, num_valid)


@given(pictures_with_copies(), SEEDS, st.randoms())
def test_a_place_does_not_depend_on_file_names_and_their_order(pictures, seed, random):
    before = {hash_: place for (hash_, _), place in zip(pictures, split(pictures, seed), strict=True)}
    moved = list(pictures)
    random.shuffle(moved)
    assert {hash_: place for (hash_, _), place in zip(moved, split(moved, seed), strict=True)} == before


@given(st.integers(3, 60), SEEDS)
def test_one_picture_more_moves_three_others_at_most(size, seed):
    hashes, classes = singles({"a": size + 1})
    before = stratified_split(hashes[:-1], classes[:-1], valid=0.2, test=0.2, seed=seed)
    after = stratified_split(hashes, classes, valid=0.2, test=0.2, seed=seed)
    assert sum(x != y for x, y in zip(before, after, strict=False)) <= 3


def test_another_class_moves_nothing():
    hashes, classes = singles({"b": 40, "a": 40})
    alone = stratified_split(hashes[:40], classes[:40], valid=0.2, test=0.2, seed=3)
    assert stratified_split(hashes, classes, valid=0.2, test=0.2, seed=3)[:40] == alone


def test_the_split_of_a_seed_stays_what_it_was():
    hashes, classes = singles({"a": 10})
    places = stratified_split(hashes, classes, valid=0.2, test=0.1, seed=0)
    assert [index for index, place in enumerate(places) if place == "test"] == [9]  # recorded
    assert [index for index, place in enumerate(places) if place == "valid"] == [2, 5]


def test_another_seed_deals_differently():
    hashes, classes = singles({"a": 100})
    first, second = (stratified_split(hashes, classes, valid=0.3, test=0.3, seed=seed) for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize(
    ("valid", "test", "expected"),
    [
        (0.15, 0.15, {"train": 14, "valid": 3, "test": 3}),
        (0.15, 0, {"train": 17, "valid": 3}),
        (0, 0.15, {"train": 17, "test": 3}),
        (0, 0, {"train": 20}),
        (0.01, 0.01, {"train": 18, "valid": 1, "test": 1}),
        (0.5, 0.49, {"train": 1, "valid": 9, "test": 10}),
    ],
)
def test_shares_of_twenty_pictures_by_hand(valid, test, expected):
    hashes, classes = singles({"a": 20})
    assert Counter(stratified_split(hashes, classes, valid=valid, test=test, seed=0)) == expected


def test_copies_count_as_pictures_of_the_share():
    pictures = [(content(number), "a") for number in range(10) for _ in range(10)]
    assert Counter(split(pictures, valid=0.2, test=0.3)) == {"train": 50, "valid": 20, "test": 30}


@pytest.mark.parametrize("seed", range(10))
def test_a_picture_in_two_classes_lies_on_one_side(seed):
    hashes, classes = singles({"a": 20, "b": 20})
    hashes[20] = hashes[0]
    places = stratified_split(hashes, classes, valid=0.3, test=0.3, seed=seed)
    assert places[20] == places[0]


def test_classes_with_too_few_pictures_are_named_with_their_numbers():
    hashes, classes = singles({"plenty": 9, "few": 2, "one": 1})
    with pytest.raises(UserError) as caught:
        stratified_split(hashes, classes, valid=0.15, test=0.15, seed=0)
    assert "fewer than 3 different pictures" in str(caught.value)
    assert "'few' (2), 'one' (1)" in str(caught.value)
    assert "'plenty'" not in str(caught.value)
    assert "--valid 0 or --test 0" in str(caught.value)


def test_copies_do_not_make_enough_pictures():
    with pytest.raises(UserError, match=r"'a' \(2\)"):
        split([(content(0), "a")] * 5 + [(content(1), "a")])


def test_a_class_of_nothing_but_another_s_pictures_goes_with_them():
    pictures = [(content(number), "a") for number in range(5)]
    places = split([*pictures, *[(hash_, "b") for hash_, _ in pictures]])
    assert places[:5] == places[5:]
    assert set(places) == set(SPLITS)


def test_fixed_places_stay_and_count():
    hashes, classes = singles({"a": 20})
    fixed = dict.fromkeys(range(3), "test") | dict.fromkeys(range(3, 8), "train")
    places = stratified_split(hashes, classes, valid=0.2, test=0.2, seed=0, fixed=fixed)
    assert places[:8] == ["test"] * 3 + ["train"] * 5
    assert Counter(places) == {"train": 12, "valid": 4, "test": 4}


def test_more_fixed_than_the_share_take_no_new_ones():
    hashes, classes = singles({"a": 20})
    places = stratified_split(hashes, classes, valid=0.2, test=0.2, seed=0, fixed=dict.fromkeys(range(9), "test"))
    assert Counter(places) == {"train": 7, "valid": 4, "test": 9}


@given(pictures_with_copies(), SEEDS, st.integers(2, 3))
def test_folds_are_even_and_keep_units_whole(pictures, seed, folds):
    hashes, classes = zip(*pictures, strict=True)
    found = fold_of(hashes, classes, folds=folds, seed=seed)
    home = defaultdict(set)
    for hash_, fold in zip(hashes, found, strict=True):
        home[hash_].add(fold)
    assert all(len(places) == 1 for places in home.values())
    for name in set(classes):
        sizes = [sum(f == fold and c == name for f, c in zip(found, classes, strict=True)) for fold in range(folds)]
        assert max(sizes) - min(sizes) <= 4  # the largest unit


def test_fewer_units_than_folds_are_named():
    hashes, classes = singles({"a": 5, "b": 3})
    with pytest.raises(UserError, match=r"fewer than 4 different pictures.*'b' \(3\)"):
        fold_of(hashes, classes, folds=4, seed=0)


@pytest.mark.parametrize(("valid", "test", "size"), [(0.1, 0.1, 3), (0.1, 0, 2), (0, 0.1, 2), (0, 0, 1)])
def test_as_many_pictures_as_splits_are_enough(valid, test, size):
    hashes, classes = singles({"a": size})
    places = stratified_split(hashes, classes, valid=valid, test=test, seed=0)
    assert len(set(places)) == len(places) == size


@pytest.mark.parametrize(
    ("valid", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, -0.1), (1, 0), (0, 1), (15, 15), (float("nan"), 0.1)]
)
def test_shares_that_leave_nothing_to_train_on_are_refused(valid, test):
    with pytest.raises(UserError, match=f"--valid {valid:g} and --test {test:g} must be fractions .* sum below 1"):
        SplitConfig(valid=valid, test=test)


@pytest.mark.parametrize(("valid", "test"), [(0, 0), (0.99, 0), (0.5, 0.49)])
def test_shares_that_leave_something_are_taken(valid, test):
    SplitConfig(valid=valid, test=test)


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(UserError, match="--seed -1 is out of range"):
        SplitConfig(seed=-1)
