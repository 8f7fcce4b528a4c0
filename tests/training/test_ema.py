import pytest
import torch
from torch import nn

from depthwise.training.ema import decay_at, update


def test_the_decay_rises_from_a_tenth_to_what_was_asked_for():
    assert [decay_at(step, 0.5) for step in (0, 1, 8, 9, 1000)] == pytest.approx([0.1, 2 / 11, 0.5, 0.5, 0.5])
    assert decay_at(1000, 0.9999) == pytest.approx(1001 / 1010)


def test_weights_and_statistics_are_averaged_and_counters_copied():
    average, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(5.0)
        model.running_mean.fill_(8.0)
        model.num_batches_tracked.fill_(3)
    update(average, model, 0.75)
    assert average.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 5)
    assert average.running_mean.item() == pytest.approx(2.0)
    assert average.num_batches_tracked.item() == 3
    assert (model.weight.item(), model.running_mean.item()) == (5.0, 8.0)
