import math
from typing import Any

import pytest

from depthwise.config import TrainConfig
from depthwise.errors import UserError
from depthwise.training.schedule import check_warmup, is_finished, learning_rate, num_plateaus, num_warmup_steps


def rate(step: int, num_steps: int = 100, **settings: Any) -> float:
    """Return the rate of a step in a run whose epochs are single steps."""
    return learning_rate(step, 1, TrainConfig(epochs=num_steps, **{"lr": 0.5, "warmup": 0.1} | settings))


def test_the_rate_rises_linearly_and_is_highest_where_warm_up_ends():
    rates = [rate(step) for step in range(100)]
    assert rates[:3] == pytest.approx([0.5 * 1 / 11, 0.5 * 2 / 11, 0.5 * 3 / 11])
    assert rates[9] == pytest.approx(0.5 * 10 / 11)  # the last step of warm-up
    assert rates[10] == max(rates) == 0.5


def test_the_rate_falls_along_half_a_cosine_to_nearly_zero():
    assert rate(55) == pytest.approx(0.25)  # half way
    assert rate(10 + 30) == pytest.approx(0.5 * 0.75)  # a third: (1 + cos 60) / 2
    last = rate(99)
    assert last == pytest.approx(0.25 * (1 - math.cos(math.pi / 90)))
    assert 0 < last < 0.5 / 1000


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_run_that_goes_on_with_fewer_pictures_ends_with_no_rate_and_never_below(schedule: Any):
    assert [rate(step, schedule=schedule) for step in (100, 105)] == pytest.approx([0.0, 0.0])


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert rate(0, 10, lr=0.1, warmup=0) == 0.1


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step", "exponential", "constant", "plateau"])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_shortest_runs_have_rates_above_zero(num_steps: int, schedule: Any):
    for warmup in (0, 0.1, 0.5, 0.9):
        config = TrainConfig(epochs=num_steps, lr=1.0, warmup=warmup, schedule=schedule)
        rates = [learning_rate(step, 1, config) for step in range(num_steps)]
        assert all(0 < rate <= 1 for rate in rates)
        assert warmup or rates[0] == 1


def test_warm_up_may_be_told_in_steps_or_epochs():
    config = TrainConfig(epochs=10, warmup=0.5)
    assert num_warmup_steps(7, config) == 35
    assert num_warmup_steps(7, TrainConfig(epochs=10, warmup_epochs=1.5)) == 10  # 10.5 to the even one
    assert num_warmup_steps(7, TrainConfig(epochs=10, warmup_steps=3)) == 3
    assert learning_rate(2, 7, TrainConfig(epochs=10, warmup_steps=3, lr=0.4)) == pytest.approx(0.3)


def test_warm_up_that_takes_all_steps_is_refused():
    check_warmup(7, TrainConfig(epochs=2, warmup_steps=13))
    with pytest.raises(UserError, match="warm-up of 14 steps takes all of the run: 14 in 2 epochs"):
        check_warmup(7, TrainConfig(epochs=2, warmup_steps=14))
    with pytest.raises(UserError, match=r"Give fewer --warmup-steps or --warmup-epochs"):
        check_warmup(7, TrainConfig(epochs=2, warmup_epochs=2))


def by_epoch(num_epochs: int, steps_per_epoch: int = 5, **settings: Any) -> list[float]:
    """Return the rate in the last step of each epoch."""
    config = TrainConfig(epochs=num_epochs, lr=1.0, warmup=0, **settings)
    return [learning_rate(epoch * steps_per_epoch - 1, steps_per_epoch, config) for epoch in range(1, num_epochs + 1)]


def test_linear_falls_by_equal_parts():
    config = TrainConfig(epochs=2, lr=0.8, schedule="linear", warmup_steps=2)
    assert [learning_rate(step, 5, config) for step in range(2, 10)] == pytest.approx(
        [0.1 * n for n in range(8, 0, -1)]
    )


def test_steps_come_by_thirds_where_nothing_is_said():
    assert by_epoch(9, schedule="step") == pytest.approx(3 * [1] + 3 * [0.1] + 3 * [0.01])
    assert by_epoch(4, schedule="step", decay_every=2, decay=0.5) == pytest.approx([1, 1, 0.5, 0.5])


def test_steps_come_at_milestones():
    assert by_epoch(6, schedule="step", milestones="2,5", decay=0.2) == pytest.approx([1, 1, 0.2, 0.2, 0.2, 0.04])


def test_a_step_may_fall_within_an_epoch():
    """EfficientNet's 0.97 every 2.4 epochs, of 10 steps: a fall at steps 24, 48, 72."""
    config = TrainConfig(epochs=9, lr=1.0, warmup=0, schedule="step", decay=0.97, decay_every=2.4)
    rates = [learning_rate(step, 10, config) for step in range(90)]
    falls = [step for step in range(1, 90) if rates[step] < rates[step - 1]]
    assert falls == [24, 48, 72]
    assert rates[-1] == pytest.approx(0.97**3)


def test_exponential_decays_in_every_step_and_ends_at_a_hundredth():
    config = TrainConfig(epochs=6, lr=1.0, warmup=0, schedule="exponential", decay=0.81, decay_every=3)
    assert learning_rate(0, 10, config) == 1
    assert learning_rate(15, 10, config) == pytest.approx(0.9)  # half of three epochs
    assert learning_rate(30, 10, config) == pytest.approx(0.81)
    assert by_epoch(20, 1000, schedule="exponential")[-1] == pytest.approx(0.01, rel=1e-3)
    assert by_epoch(20, 1000, schedule="exponential", decay_every=4)[-1] == pytest.approx(0.01, rel=1e-3)


def rows(*scores: tuple[float, float]) -> list[dict[str, float]]:
    return [{"valid_top1": top1, "valid_loss": loss} for top1, loss in scores]


def test_a_plateau_is_so_many_epochs_without_a_better_one():
    history = rows((0.5, 1.0), (0.5, 0.9), (0.5, 0.9), (0.4, 0.1), (0.5, 0.95), (0.6, 2.0), (0.6, 2.0), (0.6, 2.0))
    # better: epochs 1, 2 (lower loss), 6; epochs 3 and 4 make a plateau of 2, 5 begins anew, 7 and 8 make another
    assert [num_plateaus(history[:n], 2) for n in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert num_plateaus(history, 3) == 1
    assert num_plateaus(history, 4) == 0


def test_plateau_divides_the_rate_by_ten_for_each():
    history = rows((0.5, 1.0), (0.5, 1.0), (0.5, 1.0))
    config = TrainConfig(epochs=9, lr=0.4, warmup=0, schedule="plateau", decay_every=2)
    assert learning_rate(30, 10, config, history[:2]) == 0.4
    assert learning_rate(30, 10, config, history) == pytest.approx(0.04)
    usual = TrainConfig(epochs=9, lr=0.4, warmup=0, schedule="plateau", decay=0.5)
    assert learning_rate(80, 10, usual, rows((0.5, 1.0)) * 5) == 0.4
    assert learning_rate(80, 10, usual, rows((0.5, 1.0)) * 6) == 0.2


def test_a_run_is_over_with_its_epochs_or_with_patience():
    assert not is_finished(4, 0, TrainConfig(epochs=5))
    assert is_finished(5, 5, TrainConfig(epochs=5))
    patient = TrainConfig(epochs=50, patience=3)
    assert [is_finished(epoch, 4, patient) for epoch in (4, 6, 7, 8)] == [False, False, True, True]
    assert not is_finished(0, 0, patient) and not is_finished(2, 0, patient)
    assert is_finished(3, 0, patient)  # an earlier stage's model is still the best
