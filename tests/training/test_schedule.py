import math

import pytest

from depthwise.training.schedule import cosine


def test_the_rate_rises_linearly_and_is_highest_where_warm_up_ends():
    rates = [cosine(step, 100, lr=0.5, warmup=0.1) for step in range(100)]
    assert rates[:3] == pytest.approx([0.5 * 1 / 11, 0.5 * 2 / 11, 0.5 * 3 / 11])
    assert rates[9] == pytest.approx(0.5 * 10 / 11)  # the last step of warm-up
    assert rates[10] == max(rates) == 0.5


def test_the_rate_falls_along_half_a_cosine_to_nearly_zero():
    assert cosine(55, 100, lr=0.5, warmup=0.1) == pytest.approx(0.25)  # half way
    assert cosine(10 + 30, 100, lr=0.5, warmup=0.1) == pytest.approx(0.5 * 0.75)  # a third: (1 + cos 60) / 2
    last = cosine(99, 100, lr=0.5, warmup=0.1)
    assert last == pytest.approx(0.25 * (1 - math.cos(math.pi / 90)))
    assert 0 < last < 0.5 / 1000


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert cosine(0, 10, lr=0.1, warmup=0) == 0.1


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_shortest_runs_have_rates_above_zero(num_steps: int):
    for warmup in (0, 0.1, 0.5, 0.9):
        rates = [cosine(step, num_steps, lr=1.0, warmup=warmup) for step in range(num_steps)]
        assert all(0 < rate <= 1 for rate in rates)
