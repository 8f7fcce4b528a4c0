"""Who goes to train, valid and test: pure functions that touch no file."""

from collections import defaultdict
from collections.abc import Sequence

from depthwise.data.order import mix, sample_id
from depthwise.errors import UserError

SPLITS = ("train", "valid", "test")
SALT = 7


def stratified_split(
    hashes: Sequence[str], classes: Sequence[str], *, valid: float, test: float, seed: int
) -> list[str]:
    """Return 'train', 'valid' or 'test' for each picture, by class, so that each split has each class's share.

    `hashes` are of the files' contents: files with equal ones are one picture and stay on one side. The order within a
    class is a hash of (seed, content), so a picture's place depends neither on a file's name nor on what else is there.
    Raises UserError naming the classes that have too few pictures.
    """
    units: dict[str, dict[str, list[int]]] = {name: defaultdict(list) for name in sorted(set(classes))}
    home: dict[str, str] = {}  # a picture that stands in several classes is placed once, with the first of them
    for index, (content, name) in enumerate(zip(hashes, classes, strict=True)):
        units[home.setdefault(content, name)][content].append(index)
    _check_sizes(units, num_needed=1 + (valid > 0) + (test > 0))
    result = ["train"] * len(hashes)
    for members in units.values():
        order = sorted(members, key=lambda content: int(mix(sample_id(content), seed, SALT)[0]))
        for content, split in zip(order, _fill([len(members[c]) for c in order], valid, test), strict=True):
            for index in members[content]:
                result[index] = split
    return result


def _fill(sizes: list[int], valid: float, test: float) -> list[str]:
    """Place units in order: test until it has its share, then valid, the rest to train; each gets at least one."""
    total = sum(sizes)
    goals = [(name, max(1, round(part * total))) for name, part in (("test", test), ("valid", valid)) if part]
    placed: list[str] = []
    have = 0
    for index, size in enumerate(sizes):
        num_left = len(sizes) - index
        if goals and have and (have >= goals[0][1] or num_left <= len(goals)):
            goals.pop(0)
            have = 0
        placed.append(goals[0][0] if goals else "train")
        have += size
    return placed


def _check_sizes(units: dict[str, dict[str, list[int]]], *, num_needed: int) -> None:
    few = [f"{name!r} ({len(members)})" for name, members in units.items() if len(members) < num_needed]
    if few:
        raise UserError(
            f"these classes have fewer than {num_needed} different pictures, too few for each split to get one: "
            f"{', '.join(few)} (a picture that stands in several classes counts for the first)\n"
            "Add pictures, remove the class, or leave out a split with --valid 0 or --test 0."
        )
