"""Who goes to train, valid and test: pure functions that touch no file."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from depthwise.data.order import mix, sample_id
from depthwise.errors import UserError

SPLITS = ("train", "valid", "test")
SALT = 7
Units = dict[str, dict[str, list[int]]]
"""Class -> unit -> the places of its pictures."""


def stratified_split(
    units: Sequence[str],
    classes: Sequence[str],
    *,
    valid: float,
    test: float,
    seed: int,
    fixed: Mapping[int, str] | None = None,
    minimum: int = 1,
) -> list[str]:
    """Return 'train', 'valid' or 'test' for each picture, by class, so that each split has each class's share.

    `units` are hashes; pictures with equal ones stay on one side. The order within a class is a hash of (seed, unit),
    so it depends neither on files' names nor on what else is there; test takes what it lacks in this order, then valid,
    each passing over a unit that would overshoot by more than is lacking. `fixed` places stay and count towards the
    shares; `minimum` pictures of each class go to valid and test at least. Raises UserError naming the classes that
    have too few.
    """
    fixed = fixed or {}
    free = by_class(units, classes, [index for index in range(len(units)) if index not in fixed])
    settled = Counter((classes[index], split) for index, split in fixed.items())
    shares = {split: part for split, part in (("test", test), ("valid", valid)) if part}
    result = [fixed.get(index, "train") for index in range(len(units))]
    for name, members in free.items():
        total = sum(map(len, members.values())) + sum(settled[name, split] for split in SPLITS)
        goals = {s: max(minimum, round(part * total)) - settled[name, s] for s, part in shares.items()}
        order = in_order(members, seed)
        dealt = _fill(
            [len(members[unit]) for unit in order],
            {split: goal for split, goal in goals.items() if goal > 0},
            minimum,
            needs_train=not settled[name, "train"],
        )
        for unit, split in zip(order, dealt, strict=True):
            for index in members[unit]:
                result[index] = split
    _check_sizes(units, classes, result, {"train": 1} | dict.fromkeys(shares, minimum))
    return result


def fold_of(units: Sequence[str], classes: Sequence[str], *, folds: int, seed: int) -> list[int]:
    """Return 0 to `folds` - 1 for each picture: each class spread evenly, pictures of one unit in one fold.

    Raises UserError naming the classes that have fewer units than folds.
    """
    result = [0] * len(units)
    grouped = by_class(units, classes, range(len(units)))
    if few := {name: len(members) for name, members in grouped.items() if len(members) < folds}:
        raise _too_few(few, folds)
    for members in grouped.values():
        sizes = [0] * folds
        for unit in sorted(in_order(members, seed), key=lambda unit: -len(members[unit])):  # large ones first
            fold = sizes.index(min(sizes))
            sizes[fold] += len(members[unit])
            for index in members[unit]:
                result[index] = fold
    return result


def by_class(units: Sequence[str], classes: Sequence[str], indices: Sequence[int] | range) -> Units:
    """Return the units by class; one that has pictures of several classes goes by the smallest of these."""
    sizes = Counter(classes)
    home: dict[str, str] = {}
    for index in indices:
        unit, name = units[index], classes[index]
        home[unit] = min(home.get(unit, name), name, key=lambda n: (sizes[n], n))
    grouped: Units = defaultdict(lambda: defaultdict(list))
    for index in indices:
        grouped[home[units[index]]][units[index]].append(index)
    return grouped


def in_order(members: Mapping[str, list[int]], seed: int) -> list[str]:
    """Return the units in the order in which they are dealt out."""
    units = list(members)
    ranks = mix(np.array([sample_id(unit) for unit in units], np.uint64), seed, SALT)
    return [units[place] for place in np.argsort(ranks, kind="stable")]


def _fill(sizes: Sequence[int], goals: Mapping[str, int], minimum: int, *, needs_train: bool) -> list[str]:
    """Place units in order: test until it has its goal, then valid, the rest to train; each gets at least one.

    A unit that would overshoot a goal by more than is lacking goes elsewhere, so that one large group does not take a
    split over; where only such units are left, the smallest make up the `minimum`.
    """
    placed = ["train"] * len(sizes)
    free = list(range(len(sizes)))
    for number, (split, goal) in enumerate(goals.items(), 1):
        most = max(1, len(free) - (len(goals) - number) - needs_train)  # the others need one each
        have, taken = 0, list[int]()
        for place in free:
            if have < goal and len(taken) < most and sizes[place] <= 2 * (goal - have):
                taken.append(place)
                have += sizes[place]
        for place in sorted(set(free) - set(taken), key=lambda place: (sizes[place], place)):
            if have < min(goal, minimum) and len(taken) < most:
                taken.append(place)
                have += sizes[place]
        for place in taken:
            placed[place] = split
        free = [place for place in free if placed[place] == "train"]
    return placed


def _check_sizes(
    units: Sequence[str], classes: Sequence[str], splits: Sequence[str], needed: Mapping[str, int]
) -> None:
    """Raise UserError naming the classes that have fewer pictures than `needed` in a split."""
    counts = Counter(zip(classes, splits, strict=True))
    names = sorted({name for name in classes if any(counts[name, split] < least for split, least in needed.items())})
    if names:
        own = Counter(name for _, name in set(zip(units, classes, strict=True)))
        raise _too_few({name: own[name] for name in names}, sum(needed.values()))


def _too_few(few: Mapping[str, int], num_needed: int) -> UserError:
    return UserError(
        f"these classes have fewer than {num_needed} different pictures, too few for each split to get its own: "
        f"{', '.join(f'{name!r} ({number})' for name, number in few.items())} (copies, look-alikes and groups "
        "count as one picture)\n"
        "Add pictures, remove the class, or leave out a split with --valid 0 or --test 0."
    )
