"""Measuring, with a clock that moves only when something is called: who is called when, and what is counted."""

import pytest

from depthwise.deploy.measure import MIN_ROUNDS, Timing, affordable, interleave, timing


class Machine:
    """A clock, and calls that take as long as they are told."""

    def __init__(self):
        self.now, self.called = 0.0, ""

    def clock(self):
        return self.now

    def call(self, name, *costs):
        """Return a call of these seconds, one after the other; the last one from then on."""
        left = list(costs)

        def work():
            self.called += name
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return work


def test_all_are_called_in_turn_round_after_round():
    machine = Machine()
    found = interleave({"a": machine.call("a", 0.06), "b": machine.call("b", 0.5)}, 0, machine.clock)
    assert machine.called == "aaaabb" * MIN_ROUNDS  # a: twice uncounted, twice counted; b: once each
    assert found["a"] == Timing(2 * MIN_ROUNDS, *[pytest.approx(60)] * 3)
    assert found["b"] == Timing(MIN_ROUNDS, *[pytest.approx(500)] * 3)


def test_what_the_one_before_left_behind_is_not_counted():
    machine = Machine()
    slow_after_a_change = [0.08, 0.07, 0.06, 0.06] * MIN_ROUNDS
    found = interleave({"a": machine.call("a", *slow_after_a_change, 0)}, 0, machine.clock)
    assert found["a"] == Timing(2 * MIN_ROUNDS, *[pytest.approx(60)] * 3)


def test_rounds_go_on_until_the_time_is_over():
    machine = Machine()
    found = interleave({"a": machine.call("a", 0.2)}, 1.9, machine.clock)
    assert machine.called == "a" * 10 and found["a"].num_calls == 5


def test_percentiles():
    found = timing([number / 1000 for number in range(101, 0, -1)])
    assert found == Timing(101, pytest.approx(1), pytest.approx(51), pytest.approx(96))


def test_what_does_not_fit_into_the_time_is_left_out():
    rounds = 2 * MIN_ROUNDS
    costs = {"short": 0.001, "long": 2.0, "longer": 3.0, "second": 1.0}
    assert affordable(costs, rounds * 3.1) == ["short", "long", "second"]  # a short call still has a whole turn
    assert affordable(costs, rounds * 3.09) == ["short", "long"]
    assert affordable({"huge": 1e9}, 1.0) == ["huge"]
