from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from depthwise.data.cache import Dataset
from depthwise.models.normalise import Normalise
from depthwise.training.batchnorm import num_recalibration_images, recalibrate

NORMALISE = Normalise((0.0,), (1.0,))
CPU = torch.device("cpu")


def drain(steps: Iterator[None]) -> int:
    return sum(1 for _ in steps)


def dataset(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 4, 4, 1), np.uint8)
    return Dataset(images, np.zeros(count, np.int64), np.arange(count, dtype=np.uint64), ())


@pytest.mark.parametrize(("count", "expected"), [(10, 10), (256, 256), (1000, 256), (8000, 1000), (10**6, 4096)])
def test_an_eighth_is_looked_at_within_bounds(count, expected):
    assert num_recalibration_images(count) == expected


def test_one_batch_gives_its_own_mean_and_variance():
    pictures = dataset(6)
    norm = nn.BatchNorm2d(1, momentum=0.01)
    norm.running_mean.fill_(99.0)
    drain(recalibrate(norm, pictures, NORMALISE, CPU, batch_size=8, seed=0))
    values = pictures.images / 255
    assert norm.running_mean.item() == pytest.approx(values.mean(), rel=1e-5)
    assert norm.running_var.item() == pytest.approx(values.var(ddof=1), rel=1e-5)


def test_pictures_that_are_stored_larger_are_measured_at_the_networks_size():
    pictures = replace(dataset(6), image_size=2)
    norm = nn.BatchNorm2d(1, momentum=0.01)
    drain(recalibrate(norm, pictures, NORMALISE, CPU, batch_size=8, seed=0))
    shown = pictures.shown(np.arange(6)) / 255
    assert norm.running_var.item() == pytest.approx(shown.var(ddof=1), rel=1e-5)


def test_several_batches_count_alike():
    pictures = dataset(8)
    norm = nn.BatchNorm2d(1)
    drain(recalibrate(norm, pictures, NORMALISE, CPU, batch_size=4, seed=0))
    assert norm.running_mean.item() == pytest.approx((pictures.images / 255).mean(), rel=1e-5)
    assert norm.num_batches_tracked.item() == 2


def test_weights_momentum_and_mode_are_as_before():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3, momentum=0.01), nn.Dropout(0.5))
    weights = [parameter.clone() for parameter in model.parameters()]
    drain(recalibrate(model, dataset(6), NORMALISE, CPU, batch_size=3, seed=0))
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert model[1].momentum == 0.01
    assert not any(module.training for module in model.modules())


def test_a_network_without_batch_norm_is_left_alone():
    model = nn.Linear(2, 2)
    drain(recalibrate(model, dataset(6), NORMALISE, CPU, batch_size=3, seed=0))
    assert model.training
