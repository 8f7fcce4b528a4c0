import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.data.order import batch_sizes, deal, epoch_order, mix, name_copies, sample_id, uniform

SEEDS = st.integers(0, 2**32 - 1)
EPOCHS = st.integers(0, 10_000)
UNIQUE_IDS = st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60).map(lambda ids: np.array(ids, np.uint64))


def test_a_sample_is_named_by_the_first_16_digits_of_its_hash():
    assert sample_id("00000000000001ff" + "f" * 16) == 511


@pytest.mark.parametrize(("state", "expected"), [(0, 0xE220A8397B1DCDAF), (1, 0x910A2DEC89025CC1)])
def test_mix_without_salts_is_the_first_number_of_splitmix64(state, expected):
    assert mix(state).tolist() == [expected]  # the published test vectors for these seeds


def mix_in_plain_integers(state: int, *salts: int) -> int:
    for salt in (0, *salts):
        state = (state + 0x9E3779B97F4A7C15 * (salt + 1)) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state


@given(st.integers(0, 2**64 - 1), SEEDS, EPOCHS)
def test_mix_counts_modulo_two_to_the_64(state, seed, epoch):
    assert mix(state, seed, epoch).tolist() == [mix_in_plain_integers(state, seed, epoch)]


def test_each_id_is_mixed_by_itself():
    ids = np.array([5, 6, 2**64 - 1], np.uint64)
    assert mix(ids, 1, 2).tolist() == [int(mix(value, 1, 2)[0]) for value in ids.tolist()]


def test_every_salt_and_its_place_count():
    values = [int(mix(9, *salts)[0]) for salts in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (2**32 - 1, 0)]]
    assert len(set(values)) == len(values)


def test_uniform_fills_the_unit_interval_evenly():
    numbers = uniform(np.arange(10_000, dtype=np.uint64), 3, 4)
    shares = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert shares.sum() == 10_000
    assert numbers.max() < 1
    assert (np.abs(shares - 1000) < 150).all()  # five standard deviations of a fair draw


def test_uniform_of_one_epoch_says_nothing_of_the_next():
    ids = np.arange(10_000, dtype=np.uint64)
    assert abs(np.corrcoef(uniform(ids, 0, 1), uniform(ids, 0, 2))[0, 1]) < 0.05


@given(UNIQUE_IDS, SEEDS, EPOCHS)
def test_an_epoch_shows_every_sample_once(ids, seed, epoch):
    assert sorted(epoch_order(ids, seed, epoch).tolist()) == list(range(len(ids)))


@given(UNIQUE_IDS, SEEDS, EPOCHS, st.randoms())
def test_the_order_does_not_depend_on_where_samples_lie(ids, seed, epoch, random):
    moved = ids.tolist()
    random.shuffle(moved)
    moved = np.array(moved, np.uint64)
    assert moved[epoch_order(moved, seed, epoch)].tolist() == ids[epoch_order(ids, seed, epoch)].tolist()


@given(UNIQUE_IDS, SEEDS, EPOCHS)
def test_a_sample_more_does_not_change_the_order_of_the_others(ids, seed, epoch):
    shown = ids[epoch_order(ids, seed, epoch)].tolist()
    fewer = ids[1:][epoch_order(ids[1:], seed, epoch)].tolist()
    assert [value for value in shown if value in fewer] == fewer


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0), (1, 1)])
def test_another_seed_or_epoch_is_another_order(seed, epoch):
    ids = np.arange(100, dtype=np.uint64)
    assert (epoch_order(ids, seed, epoch) != epoch_order(ids, 0, 0)).sum() > 80


def test_equal_samples_keep_their_places():
    assert epoch_order(np.array([4, 4, 4], np.uint64), 0, 0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("num_samples", "expected"),
    [(0, []), (1, [1]), (3, [3]), (4, [4]), (5, [3, 2]), (8, [4, 4]), (9, [4, 3, 2]), (11, [4, 4, 3])],
)
def test_batch_sizes_by_hand(num_samples, expected):
    assert batch_sizes(num_samples, 4) == expected


@given(st.integers(0, 100_000), st.integers(2, 5_000))
def test_batches_cover_all_and_none_is_too_large_or_below_half(num_samples, batch_size):
    sizes = batch_sizes(num_samples, batch_size)
    assert sum(sizes) == num_samples
    assert all(0 < size <= max(batch_size, 3) for size in sizes)
    assert len(sizes) <= 1 or min(sizes) >= max(2, batch_size // 2)
    assert set(sizes[:-2]) <= {batch_size}


def test_a_last_picture_alone_joins_the_batch_before():
    assert batch_sizes(5, 2) == [2, 3]
    assert batch_sizes(3, 2) == [3]


@given(st.integers(0, 500), st.integers(1, 40))
def test_parts_cover_all_in_order_and_differ_by_one_at_most(num_samples, num_parts):
    parts = deal(num_samples, num_parts)
    assert [index for part in parts for index in range(num_samples)[part]] == list(range(num_samples))
    sizes = [part.stop - part.start for part in parts]
    assert len(sizes) == num_parts and max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


def test_each_copy_has_a_name_of_its_own_and_the_first_keeps_the_content_s():
    ids = np.array([5, 7, 5, 9, 5, 7], np.uint64)
    named = name_copies(ids)
    assert len(set(named.tolist())) == 6
    assert named[[0, 1, 3]].tolist() == [5, 7, 9]
    assert name_copies(ids[[0, 1, 3]]).tolist() == [5, 7, 9]
    assert len(name_copies(ids[:0])) == 0
