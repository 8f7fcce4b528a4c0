"""Pictures of the same shot: equal pixels, or proposed by perceptual hash and confirmed pixel by pixel."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from depthwise.console import Quiet
from depthwise.data.audit import parallel
from depthwise.data.decode import decode
from depthwise.data.fingerprint import Fingerprint
from depthwise.data.hamming import MOST_EQUAL, Pairs, near_pairs
from depthwise.data.ledger import Ledger
from depthwise.data.likeness import ALIKE, ALIKE_BY_KIND, likeness, small_grey
from depthwise.errors import UnusablePicture

RADII = (2, 4, 6, 8, 10)
MAX_PROPOSED = 2
"""Pairs per picture, in the mean: where more look alike, hashes tell little, and only nearer ones are proposed."""
FREE, FREE_AT_FIRST = 1000, 10_000
"""Pairs more that may be proposed; at the first radius, which only a camera that stands still makes too wide."""
MANY = 0.25
"""Proposed pairs per picture from which on the share of wrong ones tells whether all are of one kind."""
FLAT = 4.0
"""Contrast in grey levels below which a picture has no look: its hash is noise."""


class Twins(NamedTuple):
    """Two pictures, by their places in a list, that show the same shot."""

    first: int
    second: int
    likeness: float  # 1.0: equal pixels; else from likeness.ALIKE on


class Search(NamedTuple):
    """What was found, and how it was searched."""

    pairs: tuple[Twins, ...]
    radius: int  # bits, of 64
    least: float  # likeness from which on pairs were taken

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        if self.least == ALIKE and self.radius == RADII[-1]:
            return ()
        return (
            f"these pictures look alike by their kind: only hashes within {self.radius} of 64 bits were compared, and "
            f"only a likeness of {self.least} and more is taken for the same shot",
        )


def find_twins(
    paths: Sequence[Path], prints: Sequence[Fingerprint], ledger: Ledger, workers: int, console: Quiet
) -> Search:
    """Return the pairs of the same shot: of each two confirmed on their pixels, never inferred from a third.

    Pictures of equal pixels are paired with the first of them, which stands for all in the rest of the search.
    """
    copies = equal_pixels(prints)
    pairs = [Twins(group[0], other, 1.0) for group in copies for other in group[1:]]
    doubles = {other for group in copies for other in group[1:]}
    chosen = [i for i, p in enumerate(prints) if i not in doubles and p.contrast >= FLAT]
    proposed, radius = _propose([prints[i] for i in chosen])
    candidates = [(chosen[i], chosen[j]) for i, j in proposed.tolist()]
    compared = _compare(candidates, paths, prints, ledger, workers, console)
    least = _least(compared, len(prints), radius)
    pairs += [twins for twins in compared if twins.likeness >= least]
    return Search(tuple(sorted(pairs)), radius, least)


def _least(compared: Sequence[Twins], number: int, radius: int) -> float:
    """Return the likeness to ask for: more, where hashes propose too many pairs, or many that are mostly different."""
    num_different = sum(twins.likeness < ALIKE for twins in compared)
    is_one_kind = radius < RADII[-1] or (len(compared) > MANY * number and num_different > len(compared) / 2)
    return ALIKE_BY_KIND if is_one_kind else ALIKE


def equal_pixels(prints: Iterable[Fingerprint]) -> list[list[int]]:
    """Return the places of pictures with equal pixels, by groups of two and more."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, print_ in enumerate(prints):
        groups[print_.pixels].append(number)
    return [group for group in groups.values() if len(group) > 1]


def _propose(prints: Sequence[Fingerprint]) -> tuple[Pairs, int]:
    """Return pairs whose looks, or middle and look, are near, and the largest radius that was affordable."""
    number = len(prints)
    hashes = np.array([p.look for p in prints] + [p.inner_look for p in prints], np.uint64)

    def within(radius: int, most_equal: int) -> Pairs:
        pairs = near_pairs(hashes, radius, most_equal) % max(1, number)
        return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)

    best, reached = within(0, 1), 0  # before a camera that stands still: each with the next one
    for radius in RADII:
        pairs = within(radius, MOST_EQUAL)
        if len(pairs) > (FREE if reached else FREE_AT_FIRST) + MAX_PROPOSED * number:
            break
        best, reached = pairs, radius
    return best, reached


def _compare(
    candidates: Sequence[tuple[int, int]],
    paths: Sequence[Path],
    prints: Sequence[Fingerprint],
    ledger: Ledger,
    workers: int,
    console: Quiet,
) -> list[Twins]:
    @lru_cache(maxsize=4096)
    def small(place: int) -> Image.Image | None:
        try:
            return small_grey(Image.fromarray(decode(paths[place], 3)))
        except UnusablePicture:  # gone since it was looked at
            return None

    def compare(pair: tuple[int, int]) -> float:
        key = _key(prints, pair)
        known = ledger.likeness(*key)
        if known is not None:
            return known
        first, second = (small(place) for place in sorted(pair, key=lambda place: prints[place].content))
        if not first or not second:
            return 0.0
        found = likeness(first, second)
        if found < ALIKE_BY_KIND:  # a cut-out may be found in the whole picture, and not the other way round
            found = max(found, likeness(second, first))
        ledger.tell_likeness(*key, found)
        return found

    compared = console.track(parallel(compare, candidates, workers), len(candidates), "Comparing look-alikes")
    found = [Twins(*pair, value) for pair, value in zip(candidates, compared, strict=True)]
    ledger.save()
    return found


def _key(prints: Sequence[Fingerprint], pair: tuple[int, int]) -> tuple[str, str]:
    """Return the pair's contents in a fixed order: likeness is asked for once, whichever comes first."""
    first, second = sorted(prints[place].content for place in pair)
    return first, second
