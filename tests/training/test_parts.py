"""Steps computed in parts, and what is done to their gradients."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depthwise.config import TrainConfig
from depthwise.data.cache import Dataset
from depthwise.data.order import mix
from depthwise.errors import UserError
from depthwise.models.normalise import Normalise
from depthwise.training.batchnorm import StepStatistics
from depthwise.training.compute import Compute
from depthwise.training.distributed import ALONE, check_parts, join
from depthwise.training.loop import Loop, StepReport, run
from depthwise.training.loss import build_loss
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState

NORMALISE = Normalise((0.5,) * 3, (0.25,) * 3)
CONFIG = TrainConfig(epochs=1, batch_size=8, lr=0.05, warmup=0.0, augment="none", momentum=0.0, weight_decay=0.0)


class Linear(nn.Module):
    """Mean colours through a linear layer; remembers what it saw in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classifier, self.seen = nn.Linear(3, 3), []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(len(images))
        logits: Tensor = self.classifier(images.mean((2, 3)))
        return logits


def dataset(count: int) -> Dataset:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    return Dataset(images, np.arange(count, dtype=np.int64) % 3, mix(np.arange(count), 1), ())


def first_step(config: TrainConfig, count: int = 11) -> tuple[Linear, StepReport, dict[str, Tensor]]:
    model = Linear()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    data = dataset(count)
    reports = run(state, data, data, config, normalise=NORMALISE, device=torch.device("cpu"), workers=0)
    report: Any = next(iter(reports))
    change = {name: (p.detach() - before[name]) / -config.lr for name, p in model.named_parameters()}
    return model, report, change


@pytest.mark.parametrize("mixup", [None, 0.4])
@pytest.mark.parametrize("accumulate", [2, 3])
def test_a_step_in_parts_is_the_step_in_one(accumulate: int, mixup: float | None):
    """11 pictures are dealt into 6 + 5 or 4 + 4 + 3: a plain mean of the parts would be off."""
    config = replace(CONFIG, batch_size=11)
    if mixup:
        config = replace(config, augment="standard", crop=0.0, flip=False, mixup=mixup, augment_warmup=0.0)
    _, whole, gradient = first_step(config)
    model, parts, sum_of_parts = first_step(replace(config, accumulate=accumulate))
    assert model.seen == ([6, 5] if accumulate == 2 else [4, 4, 3])
    assert parts.ids.tolist() == whole.ids.tolist()
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    for name, tensor in gradient.items():
        torch.testing.assert_close(sum_of_parts[name], tensor, rtol=1e-4, atol=1e-6)


def test_parts_draw_their_own_dropout():
    class Dropping(Linear):
        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(nn.functional.dropout(torch.ones(64)).tolist())
            return self.classifier(images.mean((2, 3)))

    model, data = Dropping(), dataset(8)
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    config = replace(CONFIG, accumulate=3)
    next(iter(run(state, data, data, config, normalise=NORMALISE, device=torch.device("cpu"), workers=0)))
    assert len({tuple(mask) for mask in model.seen}) == len(model.seen) == 3


def test_clipping_scales_all_gradients_together_and_only_large_ones():
    _, _, gradient = first_step(CONFIG)
    norm = torch.cat([g.reshape(-1) for g in gradient.values()]).norm().item()
    _, _, clipped = first_step(replace(CONFIG, clip_grad=norm / 3))
    for name, tensor in gradient.items():
        torch.testing.assert_close(clipped[name], tensor / 3, rtol=1e-3, atol=1e-6)
    _, _, untouched = first_step(replace(CONFIG, clip_grad=norm * 3))
    assert all(torch.equal(untouched[name], tensor) for name, tensor in gradient.items())


def test_running_statistics_are_the_mean_of_what_the_parts_make_of_them():
    norm, images = nn.BatchNorm2d(1, momentum=0.25), torch.arange(8.0).reshape(4, 1, 2, 1)
    norm.running_mean.fill_(10.0)
    statistics = StepStatistics(norm, 2)
    for part in images.split(2):
        norm(part)
        statistics.add_part()
    assert norm.running_mean.item() == 10.0
    statistics.finish()
    assert norm.running_mean.item() == pytest.approx(0.75 * 10 + 0.25 * (1.5 + 5.5) / 2)
    assert norm.running_var.item() == pytest.approx(0.75 * 1 + 0.25 * images[:2].var().item())


def test_statistics_that_stay_are_not_averaged():
    """Of frozen layers: sums and quotients would change their last bits."""
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1).eval())
    assert [id(buffer) for buffer in StepStatistics(model, 3).buffers] == [
        id(model[0].running_mean),
        id(model[0].running_var),
    ]


def test_a_step_in_one_part_is_left_to_batch_norm():
    statistics = StepStatistics(nn.BatchNorm2d(1), 1)
    assert statistics.buffers == [] and statistics.sums == []


@pytest.mark.parametrize(
    ("num_images", "batch_size", "num_processes", "accumulate"),
    [(1000, 64, 1, 1), (3, 2, 1, 1), (64, 64, 32, 1), (65, 64, 16, 1), (65, 64, 4, 4)],
)
def test_parts_of_two_and_more_are_taken(num_images: int, batch_size: int, num_processes: int, accumulate: int):
    check_parts(num_images, batch_size, num_processes, accumulate)


def test_parts_that_are_too_small_are_refused_with_the_largest_number():
    with pytest.raises(UserError) as got:
        check_parts(65, 64, 17, 1)
    assert str(got.value) == (
        "65 training pictures in batches of 64 leave a smallest batch of 32: too few for 17 processes with "
        "--accumulate 1, which need 2 in each part; at most 16 processes. Or take a larger --batch-size."
    )
    check_parts(65, 64, 16, 1)
    with pytest.raises(UserError, match="at most 5 processes"):
        check_parts(65, 64, 6, 3)
    with pytest.raises(UserError, match=r"too few for --accumulate 33, .*; at most --accumulate 16, in 1 process"):
        check_parts(65, 64, 1, 33)


def test_without_an_environment_a_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    for world in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if world:
            monkeypatch.setenv("WORLD_SIZE", world)
        with join("cpu") as group:
            assert group == ALONE
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.first(lambda: 3) == 3
    assert ALONE.gather("a") == ["a"]


def test_an_environment_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(UserError, match=r"the 2 processes of this run did not find each other: .*RANK.*\n.*torchrun"),
        join("cpu"),
    ):
        pass


def test_a_process_that_sees_other_pictures_says_so():
    from depthwise.workflows.training import _check_same_pictures

    class Second:
        rank = 1

        def first(self, function: Any) -> str:
            return "what process 0 sees"

    class Pictures:
        digest = "what this one sees"

    with pytest.raises(UserError, match="process 1 sees other pictures than process 0"):
        _check_same_pictures(Pictures(), Second())


@pytest.mark.parametrize(("accumulate", "batch_size", "largest"), [(1, 8, 8), (4, 8, 2), (1, 900, 256)])
def test_statistics_are_measured_in_batches_that_a_step_s_parts_bear(accumulate: int, batch_size: int, largest: int):
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.BatchNorm1d(3)), dataset(900)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    config = replace(CONFIG, batch_size=batch_size, accumulate=accumulate, recalibrate=True)
    state = TrainState(model, build_optimizer(model, config))
    loss = build_loss(config, data.labels, torch.device("cpu"))
    loop = Loop(state, data, dataset(2), config, NORMALISE, torch.device("cpu"), 0, ALONE, Compute(model), loss)
    list(loop.validate())
    assert max(seen) == largest
