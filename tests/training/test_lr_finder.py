from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from depthwise.config import TrainConfig
from depthwise.data.cache import Dataset
from depthwise.data.order import mix
from depthwise.models.normalise import Normalise
from depthwise.training.compute import Compute
from depthwise.training.distributed import ALONE
from depthwise.training.loss import Loss
from depthwise.training.lr_finder import Point, Sweep, rising, suggest
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState


def test_the_rate_rises_by_the_same_factor_in_each_step():
    assert [rising(step, 5, 0.01, 100.0) for step in range(5)] == pytest.approx([0.01, 0.1, 1, 10, 100])


def points(*smooth: float) -> list[Point]:
    return [Point(10.0**number, 0.0, value) for number, value in enumerate(smooth)]


def test_the_suggestion_is_where_the_loss_falls_most_steeply_before_its_lowest():
    # over two steps: -0.2, -0.6, -0.9, -0.5, then the lowest; the fall at the end comes after it
    assert suggest(points(3.0, 3.0, 2.8, 2.4, 1.9, 1.9, 5.0, 2.0)) == 10.0**3
    assert suggest(points(1.0, 2.0, 3.0)) is None
    assert suggest(points(2.0)) is None
    assert suggest([]) is None


def test_slopes_are_taken_over_a_tenth_of_the_points():
    smooth = np.concatenate([np.linspace(3, 2.9, 20), [2.5], np.linspace(2.9, 1, 19)])  # one dip that is noise
    rates = [Point(float(number), 0.0, float(value)) for number, value in enumerate(smooth)]
    assert 20 < suggest(rates) < 39


class Means(nn.Module):
    """Logits that are the mean colours times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 3))

    def forward(self, x: Any) -> Any:
        return x.mean((2, 3)) @ self.weight


def sweep(is_learnable: bool = True, **settings: Any) -> Sweep:
    labels = np.arange(30) % 3
    images = np.zeros((30, 4, 4, 3), np.uint8)
    images[np.arange(30), :, :, labels if is_learnable else 0] = 200
    data = Dataset(images, labels, mix(np.arange(30), 1), ())
    config = TrainConfig(momentum=0.0, batch_size=10, augment="none", label_smoothing=0.0, weight_decay=0.0)
    model = Means()
    state = TrainState(model, build_optimizer(model, config))
    normalise = Normalise((0.5,) * 3, (0.25,) * 3)
    parts = (state, data, data, config, normalise, torch.device("cpu"), 0, ALONE, Compute(model), Loss(), None)
    return Sweep(*parts, **({"low": 1e-3, "high": 10.0, "num_steps": 40} | settings))


def test_a_sweep_goes_through_epochs_and_smooths_the_loss():
    found = list(sweep().points())
    assert [point.lr for point in found] == pytest.approx([rising(step, 40, 1e-3, 10.0) for step in range(len(found))])
    assert len(found) == 40 > 30 / 10
    one, two = found[0].loss, found[1].loss
    assert one == pytest.approx(np.log(3))
    assert found[0].smooth == pytest.approx(one)
    assert found[1].smooth == pytest.approx((0.95 * one + two) / 1.95)
    assert found[-1].smooth < found[0].smooth / 2
    assert suggest(found) is not None


def test_a_sweep_ends_where_the_loss_diverges():
    found = list(sweep(is_learnable=False, high=1e3).points())  # large steps after chance: all pictures are equal
    assert 4 < len(found) < 40
    assert found[-1].smooth > 1.1 * min(point.smooth for point in found)


def test_a_sweep_ends_where_the_loss_is_no_number():
    broken = sweep()
    broken.state.model.register_forward_hook(
        lambda module, args, out: out / 0 if broken.state.step == 7 else out  # the eighth step
    )
    assert len(list(broken.points())) == 7
