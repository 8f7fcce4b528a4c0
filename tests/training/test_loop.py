from collections.abc import Generator
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.data.augment import Augmentation
from depthwise.data.cache import Dataset
from depthwise.data.geometry import Geometry
from depthwise.data.loader import training_batches
from depthwise.data.order import mix
from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.normalise import Normalise
from depthwise.training.batchnorm import recalibrate
from depthwise.training.loop import EpochReport, StepReport, ValidationReport, compute_logits, run
from depthwise.training.optim import build_optimizer
from depthwise.training.schedule import learning_rate
from depthwise.training.state import TrainState

CPU = torch.device("cpu")
NORMALISE = Normalise((0.5,) * 3, (0.25,) * 3)
CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.05, seed=7)
NUM_TRAIN = 27  # batches of 8, 8, 6 and 5: four steps an epoch


def make_data(num_images: int, seed: int, side: int = 16) -> Dataset:
    """Make noisy pictures whose class is the brightest of three channels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % 3
    images = rng.integers(0, 120, (num_images, side, side, 3))
    images[np.arange(num_images), :, :, labels] += 100
    return Dataset(images.astype(np.uint8), labels.astype(np.int64), mix(np.arange(num_images), seed), ())


TRAIN, VALID = make_data(NUM_TRAIN, 1), make_data(9, 2)


def build(config: TrainConfig = CONFIG, drop_rate: float = 0.2) -> TrainState:
    torch.manual_seed(config.seed)
    model = create_model("mobilenet_v2_x0_35", 3, small_input=True, drop_rate=drop_rate)
    model = model.to(memory_format=torch.channels_last)
    average = deepcopy(model) if config.ema else None
    return TrainState(model, build_optimizer(model, config), average)


def reports(
    state: TrainState, config: TrainConfig = CONFIG, *, workers: int = 0, train: Dataset = TRAIN, teacher: Any = None
) -> Any:
    return run(state, train, VALID, config, normalise=NORMALISE, device=CPU, workers=workers, teacher=teacher)


def finished(config: TrainConfig = CONFIG, **options: Any) -> TrainState:
    state = build(config)
    for _ in reports(state, config, **options):
        pass
    return state


def outcome(steps: Generator[Any, None, Any]) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def assert_same(first: TrainState, second: TrainState) -> None:
    assert first.position() == second.position()
    one, other = first.tensors(), second.tensors()
    assert set(one) == set(other)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class Mean(nn.Module):
    """A network whose logits are three numbers per picture times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) @ self.weight


@pytest.fixture(scope="module")
def unbroken() -> TrainState:
    return finished()


def test_the_same_seed_gives_the_same_weights_whatever_ran_before_and_however_many_workers(unbroken: TrainState):
    torch.rand(5)
    assert_same(finished(workers=2), unbroken)


@pytest.mark.parametrize("change", [{"seed": 8}, {"augment": "none"}, {"flip": False}, {"label_smoothing": 0.0}])
def test_every_setting_reaches_the_weights(unbroken: TrainState, change: dict[str, Any]):
    states = []
    for one in (CONFIG, replace(CONFIG, **change)):
        state = build()  # the same start for both
        list(reports(state, one))
        states.append(state.model.classifier.weight)
    assert not torch.equal(*states)


def saved_and_restored(state: TrainState, folder: Path, config: TrainConfig = CONFIG) -> TrainState:
    """Pass the state through a file, as a run folder does."""
    card = Card("checkpoint", "mobilenet_v2_x0_35", {}, True, ("r", "g", "b"), Geometry(16, 1))
    path = folder / "last.safetensors"
    artifact.write(path, replace(card, training={"position": state.position()}), state.tensors())
    card, tensors = artifact.read(path)
    other = build(replace(config, seed=99))
    other.restore(tensors, card.training["position"])
    return other


# An epoch is 4 steps, 4 batches for batch norm, 1 of validation, its report: stopped in and after each of these.
@pytest.mark.parametrize(
    ("num_reports", "workers"), [(1, 2), (3, 0), (4, 2), (6, 0), (8, 2), (9, 0), (10, 2), (12, 0), (17, 2), (20, 0)]
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    unbroken: TrainState, tmp_path: Path, num_reports: int, workers: int
):
    state = build()
    stopped = reports(state, workers=workers)
    for _ in islice(stopped, num_reports):
        pass
    other = saved_and_restored(state, tmp_path)
    stopped.close()
    torch.rand(3)
    for _ in reports(other, workers=2 - workers):
        pass
    assert_same(other, unbroken)


INGREDIENTS = {
    "rmsprop": {"optimizer": "rmsprop", "schedule": "exponential"},
    "adamw": {"optimizer": "adamw", "schedule": "linear"},
    "average": {"ema": 0.9},
    "average of statistics": {"ema": 0.9, "recalibrate": False, "accumulate": 2},
    "plateau": {"schedule": "plateau", "decay_every": 1, "epochs": 4},
    "sampler": {"class_balance": "sampler"},
    "weights": {"class_balance": "weights"},
    "logit-adjust": {"class_balance": "logit-adjust"},
    "statistics": {"keep_statistics": True},
    "stages": {"freeze": "stages:4", "unfreeze_after": 1, "layer_decay": 0.6, "ema": 0.9},
}
RARE = replace(TRAIN, labels=np.where(np.arange(NUM_TRAIN) < 21, 0, TRAIN.labels))


@pytest.mark.parametrize("name", INGREDIENTS)
def test_every_ingredient_goes_on_bit_for_bit(name: str, tmp_path: Path):
    config = replace(CONFIG, **INGREDIENTS[name])
    whole = finished(config, train=RARE)
    state = build(config)
    for _ in islice(reports(state, config, train=RARE), 13):  # reports: in the middle of the second epoch
        pass
    other = saved_and_restored(state, tmp_path, config)
    for _ in reports(other, config, train=RARE):
        pass
    assert_same(other, whole)
    plain = finished(replace(CONFIG, epochs=config.epochs), train=RARE)
    assert not torch.equal(plain.predictor.classifier.weight, whole.predictor.classifier.weight)


def test_the_average_is_what_is_validated_and_is_the_average():
    config = replace(CONFIG, ema=0.9, epochs=1, recalibrate=False)
    state = build(config)
    average = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    for number, _ in enumerate(islice(reports(state, config), 4)):
        decay = min(0.9, (1 + number) / (10 + number))
        for name, parameter in state.model.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * parameter.detach()
    for name, parameter in state.average.named_parameters():
        torch.testing.assert_close(parameter.detach(), average[name])
    (report,) = (r for r in reports(state, config) if isinstance(r, EpochReport))
    logits = outcome(compute_logits(state.average, VALID, NORMALISE, CPU))
    assert np.array_equal(report.logits, logits)
    assert not np.array_equal(logits, outcome(compute_logits(state.model, VALID, NORMALISE, CPU)))


def test_the_average_s_statistics_are_measured_with_its_own_weights():
    config = replace(CONFIG, ema=0.9, epochs=1)
    state = build(config)
    list(reports(state, config))
    expected = deepcopy(state.average)
    for _ in recalibrate(expected, TRAIN, NORMALISE, CPU, batch_size=config.batch_size, seed=config.seed):
        pass
    assert torch.equal(state.average.stem.norm.running_mean, expected.stem.norm.running_mean)
    assert not torch.equal(state.average.stem.norm.running_mean, state.model.stem.norm.running_mean)


def test_statistics_that_are_kept_stay_and_all_weights_learn():
    state, config = finished(), replace(CONFIG, keep_statistics=True, epochs=4)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    list(reports(state, config))
    same = {name for name, tensor in state.model.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {name for name, _ in state.model.named_buffers()}


@pytest.mark.parametrize("accumulate", [1, 3])
def test_frozen_stages_are_as_before_to_the_bit(accumulate: int):
    config = replace(CONFIG, freeze="stages:4", accumulate=accumulate)
    state = build(config)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    list(reports(state, config))
    same = {name for name, tensor in state.model.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {
        n for n in before if n.startswith("stem.") or n.split(".")[:2] in (["blocks", str(k)] for k in range(6))
    }


def test_a_run_stops_when_patience_is_at_its_end_and_knows_it_later():
    config = replace(CONFIG, epochs=50, patience=2, lr=1e-12)  # nothing is learnt: the first epoch stays the best
    state = build(config)
    got = [report for report in reports(state, config) if isinstance(report, EpochReport)]
    assert len(got) == state.epoch == state.best_epoch + 2
    assert list(reports(state, config)) == []
    assert len(list(reports(state, replace(config, patience=3)))) > 0


def test_plateau_lowers_the_rate_of_the_epochs_after_it():
    config = replace(CONFIG, epochs=5, schedule="plateau", decay_every=1, lr=1e-12, warmup=0.0)
    model = Mean()  # without batch norm: rates that small change nothing, and no epoch is better than the first
    state = TrainState(model, build_optimizer(model, config))
    list(reports(state, config))
    assert [row["lr"] for row in state.history] == pytest.approx([1e-12, 1e-12, 1e-13, 1e-14, 1e-15], rel=1e-9, abs=0)


def test_the_teacher_sees_the_batch_as_the_network_does():
    class Watched(Mean):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                shown.append(x.detach().clone())
            return super().forward(x)

    def teach(images: Any) -> Any:
        taught.append(NORMALISE(torch.from_numpy(images)))
        return np.zeros((len(images), 3), np.float32)

    shown: list[Tensor] = []
    taught: list[Tensor] = []
    model = Watched()
    config = replace(CONFIG, epochs=1, teacher="somebody", distill_weight=1.0, lr=0.5, accumulate=2, warmup=0.0)
    list(reports(TrainState(model, build_optimizer(model, config)), config, teacher=teach))
    assert len(shown) == len(taught) == 8
    assert all(torch.equal(one, other) for one, other in zip(shown, taught, strict=True))
    assert model.weight.norm() < 0.9 * torch.eye(3).norm()  # a teacher that knows nothing teaches to answer evenly


MIXED = replace(CONFIG, scale_min=0.5, mixup=0.4, cutmix=1.0, jitter=0.2, policy="trivial", erase=0.5, progressive=8)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_run_with_everything_on_ends_as_one_that_was_not_stopped(stop: int):
    whole, state = finished(MIXED), build(MIXED)
    stopped = reports(state, MIXED, workers=2)
    list(islice(stopped, stop))
    stopped.close()
    again = build(MIXED)
    again.restore({name: t.clone() for name, t in state.tensors().items()}, state.position())
    list(reports(again, MIXED))
    assert_same(again, whole)


def test_the_loss_of_mixed_pictures_is_that_of_both_labels_in_their_shares():
    config = replace(CONFIG, augment="light", scale_min=0.0, flip=False, jitter=0.0, mixup=1.0, batch_size=NUM_TRAIN)
    state = TrainState(model := Mean(), torch.optim.SGD(model.parameters(), lr=0.0))
    first = next(iter(reports(state, config)))
    how = Augmentation(mixup=1.0)
    arguments = {"seed": 7, "epoch": 0, "start": 0, "batch_size": NUM_TRAIN, "side": 16, "workers": 0}
    (batch,) = training_batches(TRAIN, how=how, **arguments)
    logits = NORMALISE(torch.from_numpy(batch.images)).mean((2, 3))
    smooth = 0.9 * torch.eye(3) + 0.1 / 3
    targets = sum(smooth[labels] * torch.as_tensor(shares)[:, None] for labels, shares in batch.targets)
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    assert first.loss == pytest.approx(float(expected), rel=1e-5)


def test_small_pictures_come_first_where_they_grow():
    sides = []

    class Watch(Mean):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                sides.append(x.shape[2])
            return super().forward(x)

    config = replace(CONFIG, epochs=4, batch_size=NUM_TRAIN, progressive=8)
    state = TrainState(model := Watch(), torch.optim.SGD(model.parameters(), lr=0.1))
    list(reports(state, config))
    assert sides == [8, 8, 16, 16]


def test_dropout_is_drawn_anew_in_every_step():
    class Recorder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout, self.last, self.masks = nn.Dropout(0.5), nn.Linear(3, 3), []

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.masks.append(self.dropout(torch.ones(64)).tolist())
            return self.last(x.mean((2, 3)))

    def masks() -> Any:
        model = Recorder()
        list(reports(TrainState(model, build_optimizer(model, TrainConfig(momentum=0.9, weight_decay=0.0)))))
        return model.masks

    first = masks()
    assert len(first) == 8 and len({tuple(mask) for mask in first}) == 8
    assert masks() == first


def test_every_epoch_shows_every_picture_once_in_an_order_of_its_own():
    class Recorder(Mean):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend(x[:, :, 0, 0].tolist() if self.training else ())
            return super().forward(x)

    seen: list[list[float]] = []
    model = Recorder()
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    list(reports(state, replace(CONFIG, augment="none")))
    first, second = seen[:NUM_TRAIN], seen[NUM_TRAIN:]
    assert first != second
    expected = NORMALISE(torch.from_numpy(TRAIN.images))[:, :, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(expected)


def test_reports_tell_every_step_and_every_epoch():
    state = build()
    everything = list(reports(state))
    got = [report for report in everything if not isinstance(report, ValidationReport)]
    assert len(everything) - len(got) == 2 * (4 + 1)  # batches for batch norm's statistics, batches of validation
    assert [type(report) for report in got] == 2 * [*4 * [StepReport], EpochReport]
    steps = [report for report in got if isinstance(report, StepReport)]
    assert [report.step for report in steps] == list(range(1, 9))
    first, second = (report for report in got if isinstance(report, EpochReport))
    assert (first.num_images, second.num_images) == (NUM_TRAIN, NUM_TRAIN)
    assert state.history == [first.row, second.row]
    row = second.row
    assert (row["epoch"], row["step"], row["num_train_images"], row["num_valid_images"]) == (2, 8, NUM_TRAIN, 9)
    assert row["lr"] == learning_rate(7, 4, CONFIG)
    weighted = sum(report.loss * size for report, size in zip(steps[4:], (8, 8, 6, 5), strict=True))
    assert row["train_loss"] == pytest.approx(weighted / NUM_TRAIN)
    assert first.is_best
    assert list(row) == [
        *("epoch", "step", "lr", "train_loss", "valid_loss", "valid_top1", "valid_top5"),
        *("num_train_images", "num_valid_images"),
    ]


def test_validation_uses_the_running_statistics_and_changes_nothing():
    state = build()
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    logits = outcome(compute_logits(state.model, VALID, NORMALISE, CPU))
    assert (logits.shape, logits.dtype) == ((9, 3), np.float32)
    alone = Dataset(VALID.images[4:5], VALID.labels[4:5], VALID.ids[4:5], ())
    assert outcome(compute_logits(state.model, alone, NORMALISE, CPU))[0] == pytest.approx(logits[4], abs=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in state.tensors().items())


def test_the_best_epoch_is_the_most_accurate_and_of_equals_the_one_with_the_lowest_loss(
    monkeypatch: pytest.MonkeyPatch,
):
    # Scripted validation: right in 6 of 9, 9 of 9 twice (the second surer, the third less sure), then 6 of 9, surer.
    scripts = iter([(6, 1.0), (9, 1.0), (9, 3.0), (9, 2.0), (6, 9.0)])

    def script(model: nn.Module, dataset: Dataset, *_: Any) -> Any:
        yield ValidationReport()
        num_right, size = next(scripts)
        answers = np.where(np.arange(9) < num_right, dataset.labels, (dataset.labels + 1) % 3)
        return np.eye(3, dtype=np.float32)[answers] * np.float32(size)

    monkeypatch.setattr("depthwise.training.loop.compute_logits", script)
    model = Mean()
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    got = [r.is_best for r in reports(state, replace(CONFIG, epochs=5)) if isinstance(r, EpochReport)]
    assert got == [True, True, True, False, False]
    assert (state.best_epoch, state.best_top1) == (3, 1.0)


def test_the_training_loss_is_the_smoothed_cross_entropy_before_the_step():
    model = Mean()
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    config = replace(CONFIG, batch_size=27, augment="none", label_smoothing=0.3)
    report = next(reports(state, config))
    logits = NORMALISE(torch.from_numpy(TRAIN.images)).mean((2, 3))
    targets = 0.7 * nn.functional.one_hot(torch.from_numpy(TRAIN.labels), 3) + 0.1
    assert report.loss == pytest.approx(-(targets * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)


def test_a_separable_problem_is_learnt():
    model = Mean()
    nn.init.zeros_(model.weight)
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.9, weight_decay=5e-4)))
    list(reports(state, replace(CONFIG, epochs=8, label_smoothing=0.0)))
    losses = [row["train_loss"] for row in state.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]
    assert state.best_top1 == 1.0


def test_a_finished_run_has_nothing_left_to_do(unbroken: TrainState):
    assert list(reports(unbroken)) == []


def test_a_loss_that_is_not_finite_names_the_step_and_the_learning_rate():
    config = replace(CONFIG, lr=900.0, warmup=0.0)
    model = Mean()
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"the training loss became nan at step 1 \(epoch 1\)") as got:
        list(reports(state, config))
    assert "Try a lower --lr (it is 900)" in str(got.value)
    assert state.step == 0


def test_weights_that_the_last_step_broke_are_not_taken_for_perfect():
    model = Mean()
    state = TrainState(model, build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.0)))
    steps = reports(state, replace(CONFIG, epochs=1))
    for _ in islice(steps, 4):
        pass
    with torch.no_grad():
        model.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"the validation loss became nan at step 4 \(epoch 1\).* --lr \(it is 0.05\)"):
        list(steps)
    assert state.best_epoch == 0 and state.history == []


def test_pictures_in_a_file_that_may_only_be_read_are_no_reason_for_a_warning():
    data = make_data(4, 3)
    data.images.flags.writeable = False  # as those of a folder of real photos, which lie in a memory-mapped file
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    logits = outcome(compute_logits(model, data, NORMALISE, CPU))
    assert logits.shape == (4, 3)


def test_auxiliary_classifiers_learn_with_weight_three_tenths():
    """GoogLeNet with `aux`: every head gets a gradient, the loss is the sum, and their statistics are measured."""
    torch.manual_seed(0)
    model = create_model("googlenet_bn", 3, small_input=True, aux=True, drop_rate=0.0)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    data, config = make_data(8, 1, 32), TrainConfig(epochs=1, batch_size=8, lr=1e-9, warmup=0.0, label_smoothing=0.0)
    images = NORMALISE(torch.from_numpy(data.images))
    with torch.no_grad():
        logits, others = deepcopy(model).train().with_auxiliary(images)
    labels = torch.from_numpy(data.labels)
    losses = [nn.functional.cross_entropy(found, labels).item() for found in (logits, *others)]
    state = TrainState(model, build_optimizer(model, config))
    steps = run(state, data, data, config, normalise=NORMALISE, device=CPU, workers=0)
    assert next(steps).loss == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]), rel=1e-4)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.aux.parameters())
    for _ in steps:
        pass
    norms = [m for m in model.aux.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all(norm.running_mean.abs().sum() > 0 for norm in norms)
