"""What a rule for decisions does on photos whose classes are known. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.deploy.decision import UNKNOWN, Decision
from depthwise.metrics import Interval, Labels, effective_count, proportion_interval


class Count(NamedTuple):
    """So many of so many."""

    hits: int
    num: int
    worth: float | None = None
    """How many independent photos `num` are worth; None: each photo stands alone."""

    @property
    def share(self) -> float | None:
        """In [0, 1]; None of nothing."""
        return self.hits / self.num if self.num else None

    @property
    def interval(self) -> Interval | None:
        """Where the share may well lie (Clopper and Pearson); None of nothing."""
        if not self.num:
            return None
        scale = 1 if self.worth is None else self.worth / self.num
        return proportion_interval(self.hits * scale, self.num * scale)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        ends = self.interval
        return {"hits": self.hits, "num": self.num, "share": self.share, "interval": list(ends) if ends else None}


@dataclass(frozen=True)
class Outcome:
    """How the rule's answers compare with the classes."""

    unknown: Count
    """Photos rejected as unknown, of all: all of these show known classes, so each is a mistake."""
    unsure: Count
    """Photos rejected because the answer was not sure enough, of all."""
    right: Count
    """Right answers, of those that were not rejected."""
    misses: Count | None
    """Photos of the class with a wanted miss rate that were answered with another, of all of this class. A rejected
    one is not missed: somebody looks at it."""
    false_alarms: Count | None
    """Photos of other classes that were answered with that class, of all of others."""
    precisions: dict[str, Count]
    """Right answers of the kept ones, per class with a wanted precision."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        single = {name: getattr(self, name) for name in ("unknown", "unsure", "right", "misses", "false_alarms")}
        values: dict[str, Any] = {name: count.to_json() if count else None for name, count in single.items()}
        return values | {"precisions": {name: count.to_json() for name, count in self.precisions.items()}}


def outcome(
    decision: Decision,
    classes: tuple[str, ...],
    answers: NDArray[np.int64],
    reasons: list[str | None],
    labels: Labels,
    groups: ArrayLike | None = None,
) -> Outcome:
    """Count what `decision.decide` gave, against the classes' numbers (N,).

    `groups` (N,): photos with the same value are not independent; intervals count them as `effective_count` does.
    """
    is_kept = np.array([reason is None for reason in reasons])
    is_unknown = np.array([reason == UNKNOWN for reason in reasons])
    is_right, count = answers == labels, _counter(groups)
    misses = false_alarms = None
    if decision.miss:
        number = classes.index(decision.miss.label)
        is_own, is_answer = labels == number, is_kept & (answers == number)
        misses = count(is_kept & (answers != number), is_own)
        false_alarms = count(is_answer, ~is_own)
    return Outcome(
        unknown=count(is_unknown, np.ones_like(is_kept)),
        unsure=count(~is_kept & ~is_unknown, np.ones_like(is_kept)),
        right=count(is_right, is_kept),
        misses=misses,
        false_alarms=false_alarms,
        precisions={
            rule.label: count(is_right, is_kept & (answers == classes.index(rule.label))) for rule in decision.precision
        },
    )


def _counter(groups: ArrayLike | None) -> Callable[[NDArray[np.bool_], NDArray[np.bool_]], Count]:
    """Return what counts the photos that are `is_hit`, of those that are `of`."""
    named = None if groups is None else np.asarray(groups)

    def count(is_hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Count:
        hits = is_hit[of]
        worth = None if named is None or not len(hits) else effective_count(hits, named[of])
        return Count(int(hits.sum()), len(hits), worth)

    return count
