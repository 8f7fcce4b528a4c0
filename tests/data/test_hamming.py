import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwise.data import hamming
from depthwise.data.hamming import near_pairs


def by_comparing_all(hashes, radius):
    return [
        [i, j]
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= radius
    ]


@st.composite
def families(draw):
    """Hashes, and relatives of theirs with up to 14 bits flipped."""
    roots = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
    flips = draw(st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 63), max_size=14)), max_size=25))
    relatives = [roots[root % len(roots)] ^ sum({1 << bit for bit in bits}) for root, bits in flips]
    return np.array(roots + relatives, np.uint64)


@given(families(), st.integers(0, 11))
def test_what_is_found_is_what_comparing_all_finds(hashes, radius):
    assert near_pairs(hashes, radius).tolist() == by_comparing_all(hashes, radius)


def test_random_hashes_in_small_chunks(monkeypatch):
    monkeypatch.setattr(hamming, "CHUNK", 64)
    hashes = np.random.default_rng(0).integers(0, 2**64, 1500, np.uint64)
    hashes[700:] = hashes[:800] ^ np.uint64(0b1000_0000_0000_0001_0001 << 20)
    assert near_pairs(hashes, 8).tolist() == by_comparing_all(hashes, 8)


@pytest.mark.parametrize("number", [0, 1])
def test_fewer_than_two_have_no_pairs(number):
    assert near_pairs(np.zeros(number, np.uint64), 4).shape == (0, 2)


def test_equal_hashes_are_pairs():
    assert near_pairs(np.array([5, 7, 5, 5], np.uint64), 0).tolist() == [[0, 2], [0, 3], [2, 3]]


def test_a_radius_that_the_bands_do_not_cover_is_refused():
    with pytest.raises(ValueError, match="radius=12: need 0 to 11"):
        near_pairs(np.zeros(2, np.uint64), 12)
