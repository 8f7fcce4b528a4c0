"""Which pictures have to stay on one side: pure functions over pairs and groups, given by places in a list."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

MAX_SHARE, MAX_SMALL = 0.02, 10
"""A chain of look-alikes of more than this share of the pictures, or this many, is no longer taken for one shot..."""
MAX_BURST, DENSE = 50, 0.5
"""... unless it is a burst: up to so many pictures of which so many of all pairs are look-alikes themselves."""
Pair = tuple[int, int]


class Grouping(NamedTuple):
    """Groups for a split."""

    labels: list[int]  # per picture the place of its group's first picture
    too_large: list[list[int]]  # chains of look-alikes that were not kept together


class Growth(NamedTuple):
    """Where new pictures go when others are placed already."""

    places: dict[int, str]  # those that must follow a picture that is placed
    torn: dict[int, list[str]]  # those that belong to several splits at once


def group_up(number: int, equal: Iterable[Pair], alike: Sequence[Pair], ruled: Iterable[Sequence[int]]) -> Grouping:
    """Return what stays together of `number` pictures: equal ones, groups by rule, and confirmed look-alikes.

    Look-alikes of look-alikes stay on one side too, or a confirmed pair would be torn apart; but only while such a
    chain is at most 2 % of the pictures (or 10): a larger one says that all pictures of this kind look alike. A burst
    of up to 50, in which most pairs are confirmed and not only neighbours, stays together whatever its share.
    """
    equal = list(equal)
    chains = _members(_connect(number, [*equal, *alike]))
    limit = max(MAX_SMALL, MAX_SHARE * number)
    known = {(min(pair), max(pair)) for pair in (*equal, *alike)}
    too_large = [chain for chain in chains if len(chain) > limit and not _is_burst(chain, known)]
    apart = {place for chain in too_large for place in chain}
    links = [*equal, *(pair for pair in alike if pair[0] not in apart)]
    links += [(group[0], other) for group in ruled for other in group[1:]]
    labels = _connect(number, links)
    return Grouping(labels, [chain for chain in too_large if len({labels[place] for place in chain}) > 1])


def _is_burst(chain: Sequence[int], known: Container[Pair]) -> bool:
    pairs = comb(len(chain), 2)
    return len(chain) <= MAX_BURST and sum(pair in known for pair in combinations(chain, 2)) >= DENSE * pairs


def grow(number: int, links: Iterable[Pair], ruled: Iterable[Sequence[int]], fixed: Mapping[int, str]) -> Growth:
    """Return where the pictures that are not `fixed` must go because of those that are.

    One linked to pictures of one split goes there; one linked to several splits is torn. A chain of new pictures
    between two splits is torn as a whole.
    """
    ruled = [list(group) for group in ruled]
    links = [*links, *((group[0], other) for group in ruled for other in group[1:])]
    ends: dict[int, set[str]] = defaultdict(set)
    for first, second in links:
        for new, old in ((first, second), (second, first)):
            if new not in fixed and old in fixed:
                ends[new].add(fixed[old])
    for group in ruled:
        sides = {fixed[place] for place in group if place in fixed}
        for place in group:
            if place not in fixed:
                ends[place] |= sides
    torn = {place: sorted(sides) for place, sides in ends.items() if len(sides) > 1}
    among_new = [pair for pair in links if not any(place in fixed or place in torn for place in pair)]
    places: dict[int, str] = {}
    for chain in _members(_connect(number, among_new), lone=True):
        reached = sorted({side for place in chain for side in ends.get(place, ())})
        free = [place for place in chain if place not in fixed and place not in torn]
        if len(reached) == 1:
            places |= dict.fromkeys(free, reached[0])
        elif reached:
            torn |= dict.fromkeys(free, reached)
    return Growth(places, torn)


def _connect(number: int, links: Iterable[Pair]) -> list[int]:
    """Return for each place the smallest one that links lead to."""
    parents = list(range(number))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for first, second in links:
        a, b = sorted((root(first), root(second)))
        parents[b] = a
    return [root(place) for place in range(number)]


def _members(labels: Sequence[int], *, lone: bool = False) -> list[list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[label].append(place)
    return [group for group in groups.values() if lone or len(group) > 1]
