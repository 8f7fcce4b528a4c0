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
from depthwise.data.index import Record
from depthwise.data.ledger import Ledger
from depthwise.data.likeness import ALIKE, ALIKE_BY_KIND, likeness, small_grey
from depthwise.data.turned import BACK, FORMS, turn
from depthwise.errors import UnusablePicture

RADII = (2, 4, 6, 8, 10)
MAX_PROPOSED = 2
"""Pairs per picture, in the mean: where more look alike, hashes tell little, and only nearer ones are proposed."""
FREE, FREE_AT_FIRST = 1000, 10_000
"""Pairs more that may be proposed; at the first radius, which only a camera that stands still makes too wide."""
MANY = 0.25
"""Proposed pairs per picture from which on the share of wrong ones tells whether all are of one kind."""
LEAST_TURNED, FARTHEST_TURNED = 64, 6
"""px of the shorter side; bits: a wider radius would take eight times as long, and be seven times as often chance."""
FLAT = 4.0
"""Contrast in grey levels below which a picture has no look: its hash is noise."""


class Twins(NamedTuple):
    """Two pictures, by their places in a list, that show the same shot."""

    first: int
    second: int
    likeness: float  # 1.0: equal pixels; else from likeness.ALIKE on
    form: int = 0  # which of turned.FORMS the second is shown in to be like the first


class Search(NamedTuple):
    """What was found, and how it was searched."""

    pairs: tuple[Twins, ...]
    radius: int  # bits, of 64
    least: float  # likeness from which on pairs were taken
    turned_radius: int = FARTHEST_TURNED  # bits; of mirrored and turned copies; 0: these were not looked for

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        notes = []
        if self.least != ALIKE or self.radius != RADII[-1]:
            notes.append(
                f"these pictures look alike by their kind: only hashes within {self.radius} of 64 bits were compared, "
                f"and only a likeness of {self.least} and more is taken for the same shot"
            )
        if not self.turned_radius:
            notes.append("so many pictures look alike that mirrored and turned copies were not looked for")
        return tuple(notes)


def find_twins(
    records: Sequence[Record], prints: Sequence[Fingerprint], ledger: Ledger, workers: int, console: Quiet
) -> Search:
    """Return the pairs of the same shot: of each two confirmed on their pixels, never inferred from a third.

    Pictures of equal pixels are paired with the first of them, which stands for all in the rest of the search. Mirrored
    and turned copies are looked for within classes, as in another one they may be meant (left and right turns), and
    among pictures from LEAST_TURNED px on: smaller ones are too often alike that way. They need a higher likeness, as
    seven forms are seven chances to be alike by chance: of 595 such pairs of solar cells one has 0.95.
    """
    paths = [record.path for record in records]
    copies = equal_pixels(prints)
    pairs = [Twins(group[0], other, 1.0) for group in copies for other in group[1:]]
    doubles = {other for group in copies for other in group[1:]}
    chosen = [i for i, p in enumerate(prints) if i not in doubles and p.contrast >= FLAT]
    proposed, radius = _propose([prints[i] for i in chosen])
    candidates = [(chosen[i], chosen[j], 0) for i, j in proposed.tolist()]
    compared = _compare(candidates, paths, prints, ledger, workers, console)
    least = _least(compared, len(prints), radius)
    pairs += [twins for twins in compared if twins.likeness >= least]
    turned, reached = _turned_candidates(records, prints, pairs, radius)
    best: dict[tuple[int, int], Twins] = {}
    for twins in _compare(turned, paths, prints, ledger, workers, console):
        if twins.likeness >= max((1 + least) / 2, best.get(twins[:2], twins).likeness):
            best[twins[:2]] = twins
    return Search(tuple(sorted([*pairs, *best.values()])), radius, least, reached)


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


def _turned_candidates(
    records: Sequence[Record], prints: Sequence[Fingerprint], known: Iterable[Twins], most: int
) -> tuple[list[tuple[int, int, int]], int]:
    """Return (first, second, form) where the first's look is near the second's in that form, and the radius reached.

    Within classes, without the pairs that are `known`; of equal pixels the first in each class stands for all. `most`:
    the largest radius. First is below second: the forms of a pair the other way round are those that undo them.
    """
    heads: dict[tuple[str, str], int] = {}
    for place, print_ in enumerate(prints):
        if print_.contrast >= FLAT and min(print_.width, print_.height) >= LEAST_TURNED:
            heads.setdefault((print_.pixels, records[place].label), place)
    places = np.array(sorted(heads.values()), np.int64)
    number = len(places)
    if not number:
        return [], FARTHEST_TURNED
    labels = np.unique([records[place].label for place in places.tolist()], return_inverse=True)[1]
    looks = np.array([prints[place].look for place in places.tolist()], np.uint64)
    whole = b"".join(prints[place].turned_looks.to_bytes(8 * len(FORMS) - 8, "big") for place in places.tolist())
    turned = np.frombuffer(whole, ">u8").astype(np.uint64).reshape(number, len(FORMS) - 1)
    told = np.array([twins.first * len(prints) + twins.second for twins in known], np.int64)

    def in_form(form: int, radius: int) -> Pairs:
        pairs = near_pairs(np.concatenate([looks, turned[:, form - 1]]), radius) - np.array([0, number])
        pairs = pairs[(pairs[:, 0] < number) & (pairs[:, 0] < pairs[:, 1])]
        pairs = places[pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]]
        pairs = pairs[~np.isin(pairs[:, 0] * len(prints) + pairs[:, 1], told)]
        return np.column_stack([pairs, np.full(len(pairs), form)])

    best, reached = np.empty((0, 3), np.int64), 0
    for radius in (r for r in RADII if r <= min(most, FARTHEST_TURNED)):
        found = np.concatenate([in_form(form, radius) for form in range(1, len(FORMS))])
        if len(found) > FREE + number:
            break
        best, reached = found, radius
    return [(i, j, form) for i, j, form in best.tolist()], reached


def _compare(
    candidates: Sequence[tuple[int, int, int]],
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

    def compare(candidate: tuple[int, int, int]) -> float:
        first, second, form = candidate
        if prints[first].content > prints[second].content:  # asked for once, whichever comes first
            first, second, form = second, first, BACK[form]
        key = prints[first].content, prints[second].content + (f":{form}" if form else "")
        known = ledger.likeness(*key)
        if known is not None:
            return known
        one, other = small(first), small(second)
        if not one or not other:
            return 0.0
        other = turn(other, form)
        found = likeness(one, other)
        if found < ALIKE_BY_KIND:  # a cut-out may be found in the whole picture, and not the other way round
            found = max(found, likeness(other, one))
        ledger.tell_likeness(*key, found)
        return found

    compared = console.track(parallel(compare, candidates, workers), len(candidates), "Comparing look-alikes")
    found = [Twins(i, j, value, form) for (i, j, form), value in zip(candidates, compared, strict=True)]
    ledger.save()
    return found
