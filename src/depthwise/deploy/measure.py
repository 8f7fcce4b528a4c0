"""How long something takes: all that is to be compared is called in turn, round after round. Imports no torch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")
Clock = Callable[[], float]

MIN_ROUNDS = 3
TURN_S = 0.1
"""How long a turn lasts. ONNX Runtime's threads spin for some 50 ms after an answer, and slow down what comes next."""


@dataclass(frozen=True)
class Timing:
    """How long many calls of one thing took."""

    num_calls: int
    fastest_ms: float
    """What the machine can, when nothing disturbs it."""
    p50_ms: float
    """The median."""
    p95_ms: float
    """All but one call in twenty took less; with fewer than twenty calls about the longest."""


def timing(times_s: Sequence[float]) -> Timing:
    """Return the percentiles of seconds, at least one, linearly interpolated."""
    fastest, middle, late = 1000 * np.percentile(times_s, (0, 50, 95))
    return Timing(len(times_s), float(fastest), float(middle), float(late))


def interleave(
    calls: Mapping[Key, Callable[[], object]], seconds: float, clock: Clock = time.perf_counter
) -> dict[Key, Timing]:
    """Return each call's timing. What slows the machine down for a while so meets all of them alike.

    Rounds go on until `seconds` are over, and to MIN_ROUNDS at least. In a round each call has its turn: for TURN_S
    uncounted, so that nothing of the one before is left in caches and threads, then for TURN_S counted.
    """
    started, num_rounds = clock(), 0
    times: dict[Key, list[float]] = {key: [] for key in calls}
    while num_rounds < MIN_ROUNDS or clock() - started < seconds:
        for key, call in calls.items():
            _turn(call, clock)
            times[key] += _turn(call, clock)
        num_rounds += 1
    return {key: timing(found) for key, found in times.items()}


def _turn(call: Callable[[], object], clock: Clock) -> list[float]:
    """Call until TURN_S are over, at least once; return the seconds of each."""
    times: list[float] = []
    while not times or sum(times) < TURN_S:
        started = clock()
        call()
        times.append(clock() - started)
    return times


def affordable(costs_s: Mapping[Key, float], seconds: float) -> list[Key]:
    """Return the keys, in the order given, whose MIN_ROUNDS fit into `seconds` together; the first always does.

    `costs_s`: about how long one call takes.
    """
    kept: list[Key] = []
    total = 0.0
    for key, cost in costs_s.items():
        rounds = 2 * MIN_ROUNDS * max(cost, TURN_S)
        if not kept or total + rounds <= seconds:
            kept.append(key)
            total += rounds
    return kept
