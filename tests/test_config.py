from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from depthwise.config import SaveEvery, SplitConfig, TrainConfig, default_workers
from depthwise.errors import UserError
from depthwise.rules import idle


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "--epochs 0 is out of range: from 1 to 1e+06"),
        ({"batch_size": 1}, "--batch-size 1 is out of range: from 2 to 65536"),
        ({"lr": 0.0}, "--lr 0 is out of range: from 1e-12 to 1000"),
        ({"lr": -0.1}, "--lr -0.1 is out of range"),
        ({"lr": float("nan")}, "--lr nan is out of range"),
        ({"lr": float("inf")}, "--lr inf is out of range"),
        ({"warmup": 1.0}, "--warmup 1 is out of range: from 0 to 0.9"),
        ({"momentum": 1.0}, "--momentum 1 is out of range: from 0 to 0.9999"),
        ({"weight_decay": -1e-4}, "--weight-decay -0.0001 is out of range: from 0 to 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1 is out of range: from 0 to 0.9"),
        ({"crop": 0.6}, "--crop 0.6 is out of range: from 0 to 0.5"),
        ({"scale_min": 1.5}, "--scale-min 1.5 is out of range: from 0 to 1"),
        ({"rotate": 200}, "--rotate 200 is out of range: from 0 to 180"),
        ({"jitter": -0.1}, "--jitter -0.1 is out of range: from 0 to 1"),
        ({"hue": 0.6}, "--hue 0.6 is out of range: from 0 to 0.5"),
        ({"pca_noise": 2}, "--pca-noise 2 is out of range: from 0 to 1"),
        ({"policy_ops": 0}, "--policy-ops 0 is out of range: from 1 to 14"),
        ({"policy_magnitude": 11}, "--policy-magnitude 11 is out of range: from 0 to 10"),
        ({"erase": 2}, "--erase 2 is out of range: from 0 to 1"),
        ({"mixup": 3}, "--mixup 3 is out of range: from 0 to 2"),
        ({"cutmix": -1}, "--cutmix -1 is out of range: from 0 to 2"),
        ({"progressive": -1}, "--progressive -1 is out of range: from 0 to 4096"),
        ({"short_side": (512, 256)}, "--short-side 512 256: give the smallest and the largest length, from 8 to 4096"),
        ({"crop": 0.1, "scale_min": 0.3}, "--crop and --scale-min are rules for where to cut: give one of them"),
        ({"short_side": (256, 512), "scale_min": 0.3}, "--scale-min and --short-side are rules for where to cut"),
        ({"clip_grad": 0.0}, "--clip-grad 0 is out of range: from 1e-12 to 1e+12"),
        ({"accumulate": 0}, "--accumulate 0 is out of range: from 1 to 65536"),
        ({"image_size": 7}, "--image-size 7 is out of range: from 8 to 4096"),
        ({"seed": -1}, "--seed -1 is out of range: from 0 to"),
        ({"seed": 2**32}, "--seed 4.29497e+09 is out of range"),
        ({"ema": 1.0}, "--ema 1 is out of range: from 0 to 0.999999"),
        ({"layer_decay": 1.1}, "--layer-decay 1.1 is out of range: from 0.01 to 1"),
        ({"patience": 0}, "--patience 0 is out of range: from 1"),
        ({"epochs": 3, "warmup_epochs": 4}, "--warmup-epochs 4 is out of range: from 0 to 3"),
        ({"freeze": "backbone", "frozen_views": 0}, "--frozen-views 0 is out of range: from 1 to 100"),
        ({"epochs": 3, "freeze": "stages:1", "unfreeze_after": 3}, "--unfreeze-after 3 is out of range: from 1 to 2"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_flag_and_bounds(setting: dict[str, Any], message: str):
    with pytest.raises(UserError) as got:
        TrainConfig(**setting)
    assert message in str(got.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"optimizer": "adam"}, "--optimizer 'adam': expected one of sgd, rmsprop, adamw"),
        ({"channels": 2}, "--channels 2: expected 1 or 3"),
        ({"epochs": 2.5}, "--epochs 2.5: expected a whole number"),
        ({"epochs": True}, "--epochs True: expected a whole number"),
        ({"lr": "0.1"}, "--lr '0.1': expected a number"),
        ({"flip": 1}, "--flip 1: expected true or false"),
        ({"milestones": [30, 60]}, "--milestones [30, 60]: expected text"),
        ({"set": "width=0.5"}, "--set 'width=0.5': expected a list"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_is_expected(setting: dict[str, Any], message: str):
    with pytest.raises(UserError) as got:
        TrainConfig(**setting)
    assert str(got.value) == message


def test_numbers_of_numpy_are_numbers():
    numbers: Any = {"epochs": np.int64(3), "lr": np.float32(0.5)}
    assert TrainConfig(**numbers).peak_lr == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamw", "nesterov": False}, "--nesterov False does nothing without --optimizer sgd"),
        ({"rms_decay": 0.99}, "--rms-decay 0.99 does nothing without --optimizer rmsprop"),
        ({"epsilon": 1.0}, "--epsilon 1.0 does nothing without --optimizer rmsprop or adamw"),
        ({"decay": 0.5}, "--decay 0.5 does nothing without --schedule step, exponential or plateau"),
        ({"schedule": "linear", "decay_every": 2}, "--decay-every 2 does nothing without --schedule step,"),
        ({"schedule": "plateau", "milestones": "3"}, "--milestones 3 does nothing without --schedule step"),
        ({"freeze": "backbone", "unfreeze_after": 2}, "--unfreeze-after 2 does nothing without --freeze stages:N"),
        ({"freeze": "stages:1", "frozen_views": 2}, "--frozen-views 2 does nothing without --freeze backbone: add"),
        ({"distill_weight": 0.5}, "--distill-weight 0.5 does nothing without --teacher: add that, or leave it out"),
        ({"distill_temperature": 2.0}, "--distill-temperature 2.0 does nothing without --teacher"),
        ({"warmup_epochs": 2, "warmup_steps": 9}, "--warmup-epochs and --warmup-steps: both say how long warm-up is"),
        ({"schedule": "step", "milestones": "3,6", "decay_every": 2}, "--milestones and --decay-every: both say when"),
        ({"schedule": "step", "milestones": "6,3"}, "--milestones 6,3: expected rising numbers of epochs, e.g. 30,60"),
        ({"schedule": "step", "milestones": "3,x"}, "--milestones 3,x: expected rising numbers"),
        ({"schedule": "step", "milestones": ""}, "--milestones : expected rising numbers"),
        ({"freeze": "stages"}, "--freeze stages: allowed are none, backbone, and stages:N with N from 1"),
        ({"freeze": "stages:0"}, "--freeze stages:0: allowed are"),
        ({"freeze": "backbone", "layer_decay": 0.7}, "--layer-decay slows stages that --freeze backbone stops"),
        ({"freeze": "backbone", "teacher": "big"}, "--teacher looks at each picture anew, --freeze backbone"),
        ({"freeze": "backbone", "frozen_views": 2, "mixup": 0.2}, "--mixup and --cutmix blend pictures anew"),
        ({"schedule": "plateau", "decay_every": 2.5}, "--decay-every 2.5: with --schedule plateau a whole number"),
        ({"schedule": "plateau", "patience": 5}, "--patience 5 stops before --schedule plateau has lowered the rate"),
        ({"policy_ops": 5}, "--policy-ops 5 does nothing without --policy randaugment"),
        ({"policy": "trivial", "policy_magnitude": 3.0}, "does nothing without --policy randaugment"),
        ({"augment": "none", "rotate": 20.0}, "--rotate 20.0 does nothing without another --augment than none"),
        ({"freeze": "backbone", "mixup": 0.2}, "--mixup 0.2 does nothing without --frozen-views 2"),
        ({"freeze": "backbone", "augment": "strong"}, "--augment strong does nothing without --frozen-views 2"),
        ({"freeze": "backbone", "progressive": 128}, "--progressive 128 does nothing without layers that learn"),
        ({"warmup": 0.3, "warmup_epochs": 2.0}, "--warmup beside --warmup-epochs or --warmup-steps"),
        ({"schedule": "step", "milestones": "50", "epochs": 30}, "50: the first is not before --epochs 30"),
        ({"schedule": "plateau", "decay_every": 20, "epochs": 10}, "would wait longer than the run, --epochs 10"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(UserError) as got:
        TrainConfig(**settings)
    assert message in str(got.value)


def test_settings_that_fit_are_taken():
    TrainConfig(augment="none", rotate=0.0, policy="none", flip=False, short_side=(0, 0), augment_warmup=0.0)
    TrainConfig(optimizer="rmsprop", rms_decay=0.99, epsilon=1.0, schedule="step", decay=0.97, decay_every=2.4)
    TrainConfig(schedule="plateau", decay_every=4, patience=5, warmup_steps=0, ema=0.9999)
    TrainConfig(freeze="stages:12", unfreeze_after=2, layer_decay=0.7, teacher="big", distill_weight=0.5)
    assert TrainConfig(schedule="step", milestones="1.5,25").milestone_epochs == (1.5, 25)
    assert (TrainConfig(freeze="stages:12").num_frozen_stages, TrainConfig(freeze="backbone").num_frozen_stages) == (
        12,
        0,
    )


def test_what_others_make_idle_is_told_by_name():
    """So that a recipe's numbers can be left out where a flag has chosen another schedule."""
    usual = {field.name: field.default for field in fields(TrainConfig)}
    assert idle(usual, usual) == {}
    found = idle(usual | {"decay": 0.97, "decay_every": 2.4, "momentum": 0.5}, usual)
    assert list(found) == ["decay", "decay_every"]


@pytest.mark.parametrize(
    ("optimizer", "is_warm", "lr", "decay", "epsilon"),
    [
        ("sgd", False, 0.1, 5e-4, None),
        ("sgd", True, 0.01, 5e-4, None),
        ("rmsprop", False, 0.004, 1e-5, 1e-3),
        ("adamw", True, 0.0002, 0.05, 1e-8),
    ],
)
def test_each_optimiser_has_numbers_of_its_own(
    optimizer: Any, is_warm: bool, lr: float, decay: float, epsilon: float | None
):
    settled = TrainConfig(optimizer=optimizer).settled(is_warm=is_warm)
    assert (settled.lr, settled.weight_decay, settled.epsilon) == (lr, decay, epsilon)
    assert settled.peak_lr == lr
    given = TrainConfig(optimizer=optimizer, lr=0.7, weight_decay=0.0).settled(is_warm=is_warm)
    assert (given.lr, given.weight_decay) == (0.7, 0.0)


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.1), (0.1, 1.0), (0.5, 0.5), (15, 0), (float("nan"), 0)])
def test_shares_that_do_not_fit_are_refused(valid: float, test: float):
    with pytest.raises(UserError, match=r"--valid .* and --test .* must be fractions .* with a sum below 1"):
        SplitConfig(valid=valid, test=test)
    with pytest.raises(UserError, match="--seed -1 is out of range"):
        SplitConfig(seed=-1)


@pytest.mark.parametrize(
    ("text", "expected"), [("200", SaveEvery(steps=200)), ("300s", SaveEvery(seconds=300.0)), ("1", SaveEvery(steps=1))]
)
def test_a_number_means_steps_and_with_s_seconds(text: str, expected: SaveEvery):
    assert SaveEvery.parse(text) == expected


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-5", "5m", "1.5", "300 s", "ss", "²"])
def test_other_ways_to_say_how_often_to_save_are_refused(text: str):
    with pytest.raises(UserError, match=r"--save-every .*: give a number of steps \(200\) or of seconds \(300s\)"):
        SaveEvery.parse(text)


def test_values_at_the_bounds_are_taken():
    TrainConfig(epochs=1, batch_size=2, lr=1e-12, warmup=0, momentum=0, weight_decay=0, label_smoothing=0, crop=0)
    TrainConfig(lr=1000, warmup=0.9, weight_decay=1, label_smoothing=0.9, crop=0.5, image_size=8, seed=2**32 - 1)


@pytest.mark.parametrize("config", [TrainConfig(), SplitConfig()])
def test_a_configuration_cannot_be_changed_and_takes_names_only(config: Any):
    with pytest.raises(FrozenInstanceError):
        config.seed = 1
    with pytest.raises(TypeError):
        type(config)(1)


def test_plain_values_leave_out_what_is_open_and_lead_back():
    config = TrainConfig(set=("width=0.6", "round_to=4"), lr=0.05, channels=1)
    values = config.to_json()
    assert values["set"] == ["width=0.6", "round_to=4"]
    assert (values["lr"], values["channels"]) == (0.05, 1)
    assert "image_size" not in values
    left_out = {field.name for field in fields(config)} - set(values)
    assert left_out == {name for name, value in vars(config).items() if value is None} >= {"image_size", "erase"}
    assert TrainConfig(**(values | {"set": tuple(values["set"])})) == config


def test_workers_are_the_processors_eight_at_most(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)), raising=False)
    assert default_workers() == 3
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert default_workers() == 8
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert default_workers() == 1
