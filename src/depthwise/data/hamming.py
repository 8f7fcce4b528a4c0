"""All pairs of 64-bit hashes that differ in a few bits, without comparing every two.

Multi-index hashing (Norouzi et al. 2012, arXiv:1307.2982): cut into 4 bands of 16 bits, two hashes within `radius`
agree in one band up to radius // 4 bits. So only hashes whose bands are that near are compared.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

BANDS, BAND_BITS = 4, 16
MAX_RADIUS = 11
MOST_EQUAL = 32
CHUNK = 2**22
"""Pairs that are compared at a time: bounds memory."""


def near_pairs(hashes: Hashes, radius: int, most_equal: int = MOST_EQUAL) -> Pairs:
    """Return every (i, j), i < j, whose hashes differ in at most `radius` bits (11 at most), as (P, 2), sorted.

    One exception: of many equal hashes, each is paired with the next `most_equal` only, and the first ones stand for
    all before others; or a thousand white pages would be half a million pairs.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius={radius}: need 0 to {MAX_RADIUS}")
    unique, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    found = [_in_band(unique, band, radius) for band in range(BANDS)]
    near = np.unique(np.concatenate(found), axis=0)
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(counts)[:-1])
    pairs = [_all_pairs(members[i][:most_equal], members[j][:most_equal]) for i, j in near.tolist()]
    pairs += [
        np.stack([m[:-step], m[step:]], axis=1) for m in members for step in range(1, min(len(m), most_equal + 1))
    ]
    if not pairs:
        return np.empty((0, 2), np.int64)
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _all_pairs(first: Pairs, second: Pairs) -> Pairs:
    return np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)


def _in_band(hashes: Hashes, band: int, radius: int) -> Pairs:
    """Return the pairs (i, j) within `radius` among different hashes whose bits in this band nearly agree."""
    keys = ((hashes >> np.uint64(band * BAND_BITS)) & np.uint64(2**BAND_BITS - 1)).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], np.arange(2**BAND_BITS + 1))
    found = [np.empty((0, 2), np.int64)]
    sorted_hashes = hashes[order]
    for mask in _masks(radius // BANDS):
        partners = keys[order] ^ mask
        for left, right in _expand(starts[partners], starts[partners + 1]):
            is_near = np.bitwise_count(sorted_hashes[left] ^ sorted_hashes[right]) <= radius
            is_near &= left < right  # each pair once
            found.append(np.stack([order[left[is_near]], order[right[is_near]]], axis=1))
    return np.sort(np.concatenate(found), axis=1)


def _masks(num_bits: int) -> list[int]:
    """Return the band's numbers with at most `num_bits` ones."""
    return [sum(1 << bit for bit in bits) for n in range(num_bits + 1) for bits in combinations(range(BAND_BITS), n)]


def _expand(starts: Pairs, stops: Pairs) -> Iterator[tuple[Pairs, Pairs]]:
    """Yield (i, j) for each i and each j from starts[i] to stops[i], about CHUNK at a time."""
    starts = np.maximum(starts, np.arange(len(starts)) + 1)  # partners that come later: the others find us
    counts = np.maximum(stops - starts, 0)
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        limit = (ends[first - 1] if first else 0) + CHUNK
        last = max(first + 1, int(np.searchsorted(ends, limit, side="right")))
        part = counts[first:last]
        left = np.repeat(np.arange(first, last), part)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(part) - part, part)
        yield left, np.repeat(starts[first:last], part) + offset
        first = last
