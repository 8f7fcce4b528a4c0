"""Randomness as a pure function: of (seed, epoch, sample id), never of what ran before.

So a restart, another number of workers or of processes sees the same samples in the same order with the same crops,
and a checkpoint needs one position instead of the state of random generators.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
AGAIN, SHUFFLE, COPY = 21, 22, 23  # salts: of a picture's further turns, of a balanced order, of copies


def sample_id(content_hash: str) -> int:
    """Return 64 bits that name a sample by its content, wherever the file lies: the hash's first 16 hex digits."""
    return int(content_hash[:16], 16)


def name_copies(ids: Ids) -> Ids:
    """Return the ids, new ones for further pictures of the same content: shown elsewhere, cut otherwise."""
    order = np.argsort(ids, kind="stable")
    is_first = np.r_[True, ids[order][1:] != ids[order][:-1]][: len(ids)]
    if is_first.all():
        return ids
    places = np.arange(len(ids))
    turns = np.empty(len(ids), np.uint64)
    turns[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    with np.errstate(over="ignore"):
        return np.where(turns == 0, ids, mix(ids + turns, COPY))


def mix(ids: Ids | int, *salts: int) -> Ids:
    """Return 64 well-mixed bits for each id and the salts together (splitmix64's finaliser, Steele et al. 2014)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        state = np.atleast_1d(np.asarray(ids, np.uint64))
        for salt in (0, *salts):
            state = state + np.uint64(0x9E3779B97F4A7C15) * np.uint64(salt + 1)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def uniform(ids: Ids | int, *salts: int) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each id."""
    return (mix(ids, *salts) >> np.uint64(11)) / 2.0**53


def epoch_order(ids: Ids, seed: int, epoch: int) -> NDArray[np.intp]:
    """Return the positions of `ids` in this epoch's order."""
    return np.argsort(mix(ids, seed, epoch), kind="stable")


def balanced_order(labels: NDArray[np.int64], ids: Ids, seed: int, epoch: int) -> tuple[NDArray[np.intp], Ids]:
    """Return positions (N,) in which all classes are equally frequent, and an id for each: one epoch's order.

    Class-balanced sampling (Kang et al. 2020, arXiv:1910.09217, equation 1 with q = 0), but without chance in the
    counts: of N places each class has N / K. A class with fewer pictures shows all of them, again and again; one with
    more shows others in each epoch. A picture that is shown again has an id of its own then: it is cropped otherwise.
    """
    order = epoch_order(ids, seed, epoch)
    classes = np.unique(labels)
    places = deal(len(labels), len(classes))
    chosen, turns = np.empty(len(labels), np.intp), np.empty(len(labels), np.uint64)
    for name, place in zip(np.roll(classes, -epoch), places, strict=True):  # another class has the odd place each time
        mine = order[labels[order] == name]
        count = place.stop - place.start
        chosen[place] = np.resize(mine, count)
        turns[place] = np.arange(count) // len(mine)
    own = np.where(turns == 0, ids[chosen], mix(ids[chosen] + turns, AGAIN))
    shuffled = np.argsort(mix(own, seed, epoch, SHUFFLE), kind="stable")
    return chosen[shuffled], own[shuffled]


def batch_sizes(num_samples: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches: all of `batch_size`, but for a remainder spread over the last two.

    So no batch is smaller than half of `batch_size`, or than 2, when there is more than one (batch norm needs several
    samples), and none is larger (but 3, for a `batch_size` of 2).
    """
    full, rest = divmod(num_samples, batch_size)
    if not rest:
        return [batch_size] * full
    if not full:
        return [rest]
    last = batch_size + rest
    ends = [last] if last < 4 else [last - last // 2, last // 2]  # 3 = 2 + 1 stays whole: 1 is no batch
    return [batch_size] * (full - 1) + ends


def deal(num_samples: int, num_parts: int) -> list[slice]:
    """Return `num_parts` runs of consecutive samples, the first ones longer by one where it does not come out even."""
    size, rest = divmod(num_samples, num_parts)
    bounds = [number * size + min(number, rest) for number in range(num_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
