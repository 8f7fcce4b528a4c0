"""Training's ingredients through the command line: a run that was stopped, refusals, what is kept."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import depthwise as dw
from conftest import FLAGS
from depthwise import artifact
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.geometry import Geometry
from depthwise.errors import Interrupted
from depthwise.workflows.recipes import read_recipe
from depthwise.workflows.teaching import Teacher, fit

CONFIG = dw.TrainConfig(model="mobilenet_v2", set=("width=0.35",), epochs=2, batch_size=8, lr=0.02, image_size=16)
SWEPT = ("--recipe", "none", "--model", "lenet5", "--batch-size", "4", "--lr", "0.05", "--workers", "2")
SLOW = ("--model", "lenet5", "--batch-size", "4", "--lr", "1e-9", "--workers", "0")
"""Learns nothing: the first epoch, or one soon after it by a hair, stays the best."""
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "config.toml")


class Stopping(Quiet):
    """Sends a signal to this process after some of the loop's reports."""

    def track(self, items: Any, total: int, label: str) -> Any:
        for number, item in enumerate(items, start=1):
            if label == "Training" and number == 5:  # three steps and the first epoch's end came before
                signal.raise_signal(signal.SIGINT)
            yield item


@pytest.fixture(scope="module")
def big(photos, tmp_path_factory) -> Path:
    """A run to start from and to learn from."""
    out = tmp_path_factory.mktemp("big") / "run"
    dw.train(photos, out, CONFIG, workers=0)
    return out


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "rmsprop", "ema": 0.9, "schedule": "step", "milestones": "1"},
        {"optimizer": "adamw", "class_balance": "sampler", "schedule": "plateau", "decay_every": 1},
        {"teacher": "big", "class_balance": "weights", "warmup_steps": 2},
        {"freeze": "stages:3", "unfreeze_after": 1, "layer_decay": 0.7, "ema": 0.9},
        {"freeze": "stages:3", "unfreeze_after": 1},
    ],
    ids=["rmsprop-average", "adamw-sampler", "teacher", "stages", "stages-at-one-rate"],
)
def test_a_stopped_run_goes_on_to_the_same_bytes(settings, big, photos, tmp_path):
    if "teacher" in settings:
        settings = settings | {"teacher": str(big)}
    config, init = replace(CONFIG, **settings), big if "freeze" in settings else None
    whole, out = tmp_path / "whole", tmp_path / "run"
    dw.train(photos, whole, config, workers=0, init=init)
    with pytest.raises(Interrupted):
        dw.train(photos, out, config, workers=0, init=init, console=Stopping())
    dw.train(photos, out, config, workers=0, init=init, resume="auto")
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_is_kept_is_the_average_and_it_does_as_well_as_its_validation_said(photos, tmp_path):
    out = tmp_path / "run"
    dw.train(photos, out, replace(CONFIG, ema=0.9, epochs=1), workers=0)
    _, last = artifact.read(out / "last.safetensors")
    best, tensors = artifact.read(out / "best.safetensors")
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert torch.equal(tensors["classifier.weight"], last["average.classifier.weight"])
    assert not torch.equal(tensors["classifier.weight"], last["model.classifier.weight"])
    found = dw.evaluate(out, split="valid", workers=0).scores
    assert found.loss == pytest.approx(rows[best.training["epoch"] - 1]["valid_loss"], rel=1e-5)


def test_a_run_that_no_longer_improves_is_finished_and_goes_on_with_more_patience(photos, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", str(photos), "--out", str(out), *SLOW, "--epochs", "40", "--resume"]
    assert run([*command, "--patience", "2"]) == 0
    assert "None of the last 2 epochs was the best: done (--patience)." in capsys.readouterr().out
    rows = len((out / "metrics.jsonl").read_text().splitlines())
    assert rows < 40
    assert run([*command, "--patience", "2"]) == 0
    assert f"stopped after epoch {rows}, 2 epochs without a better one (--patience), already" in capsys.readouterr().out
    assert run([*command, "--patience", "4"]) == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) > rows


def test_the_teacher_s_answers_are_learnt(photos, tmp_path):
    """With all weight on a teacher that mistakes two classes for each other the student does so, against the labels."""
    one, other, third = sorted(folder.name for folder in photos.iterdir())
    for mine, theirs in ((one, other), (other, one), (third, third)):
        shutil.copytree(photos / mine, tmp_path / "swapped" / theirs)
    config = dw.TrainConfig(model="lenet5", batch_size=4, lr=0.05, epochs=4)
    dw.train(tmp_path / "swapped", tmp_path / "teacher", config, workers=0)
    config = replace(config, lr=0.02, epochs=12, seed=3, teacher=str(tmp_path / "teacher"), distill_weight=1.0)
    dw.train(photos, tmp_path / "run", config, workers=0)
    places = sorted(photos.rglob("photo*"))
    answers = [
        [answer.label for answer in dw.load(tmp_path / name).predict_many(places)] for name in ("teacher", "run")
    ]
    shares = [np.mean([a == b for a, b in zip(answers[1], said, strict=True)]) for said in (answers[0], labels(places))]
    assert shares[0] > 0.8 and shares[1] < 0.6


def labels(places: list[Path]) -> list[str]:
    return [place.parent.name for place in places]


def test_a_teacher_takes_the_student_s_pictures_in_its_own_size_and_channels():
    class Engine:
        card = SimpleNamespace(geometry=Geometry(4, 1, "crop", crop_share=0.5))

        def logits(self, images: Any) -> Any:
            seen.append(images)
            return np.arange(3 * len(images), dtype=np.float32).reshape(-1, 3)

    seen: list[Any] = []
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[:, :4, :, 1] = 200  # the upper half is green: as grey 0.587 of it
    found = Teacher(Engine(), np.array([2, 0]))(images)
    assert found.tolist() == [[2, 0], [5, 3]]
    assert seen[0].shape == (2, 4, 4, 1)
    assert abs(int(seen[0][0, 0, 0, 0]) - 117) <= 1 and seen[0][0, 3, 0, 0] == 0  # squashed whole, nothing cut off
    colours = fit(np.full((1, 4, 4, 1), 9, np.uint8), Geometry(4, 3))
    assert colours.shape == (1, 4, 4, 3) and (colours == 9).all()


def test_another_teacher_is_noticed(big, photos, tmp_path, capsys):
    teacher = tmp_path / "teacher.safetensors"
    shutil.copy(big / "best.safetensors", teacher)
    command = ["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--teacher", str(teacher), "--resume"]
    assert run([*command, "--epochs", "1"]) == 0
    dw.train(photos, tmp_path / "other", replace(CONFIG, seed=1, epochs=1), workers=0)
    shutil.copy(tmp_path / "other" / "best.safetensors", teacher)
    assert run([*command, "--epochs", "2"]) == 2
    assert "teacher's hash: " in capsys.readouterr().err
    assert run([*command, "--epochs", "2", "--allow-changes"]) == 0


def test_a_teacher_of_other_classes_or_none_is_refused(big, photos, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "猫").rename(data / "perro")
    command = ["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, "--teacher"]
    assert run([*command, str(big)]) == 2
    said = capsys.readouterr().err
    assert "does not know 'perro': a teacher must know all classes of DATA; it has 3, of which 2" in said
    assert run([*command, str(tmp_path / "nothing.onnx")]) == 2
    assert "nothing.onnx: no such model file or run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--freeze", "stages:2"], "--freeze stages:2 spares weights that were trained before"),
        (["--layer-decay", "0.5"], "--layer-decay 0.5 spares weights that were trained before"),
        (["--epochs", "2", "--warmup-epochs", "2"], "warm-up of 12 steps takes all of the run: 12 in 2 epochs"),
    ],
)
def test_what_the_run_cannot_do_is_refused(flags, message, photos, tmp_path, capsys):
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_another_optimiser_cannot_go_on_with_a_run(trained, photos, capsys):
    command = ["train", str(photos), "--out", str(trained), *FLAGS, "--epochs", "9", "--resume", "--allow-changes"]
    assert run([*command, "--optimizer", "adamw"]) == 2
    assert "optimizer: sgd in the run, adamw now" in capsys.readouterr().err


def test_a_learning_rate_is_found_and_nothing_is_kept(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    command = ["find-lr", str(photos), *SWEPT, "--steps", "30", "--svg", "lr.svg"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "Suggested: --lr " in said and "Written: lr.svg" in said
    assert "Next, with your other flags: depthwise train" in said
    assert "<svg" in Path("lr.svg").read_text() and "steepest: " in Path("lr.svg").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["lr.svg"]
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before
    assert run([*command, "--json", "--overwrite"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"][0]["lr"] == pytest.approx(0.05 / 1000)
    assert found["suggestion"] in [point["lr"] for point in found["points"]]


def test_a_sweep_has_the_recipe_s_settings(photos, capsys):
    command = ["find-lr", str(photos), "--model", "lenet5", "--batch-size", "4", "--workers", "0", "--steps", "20"]
    assert run([*command, "--recipe", "lenet5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"] == "lenet5"
    assert found["points"][0]["lr"] == pytest.approx(read_recipe("lenet5").stages({})[-1].lr / 1000)
    assert run(command) == 0
    said = capsys.readouterr()
    assert "Recipe scratch-small" in said.out + said.err and " --recipe scratch-small --model lenet5 --lr " in said.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--low", "1", "--high", "0.5"], "--low 1 and --high 0.5: both above 0, and --low the smaller one"),
        (["--steps", "5"], "--steps 5: at least 20"),
        (["--svg", "lr.png"], "--svg lr.png: it is written as SVG"),
    ],
)
def test_a_sweep_that_says_nothing_is_refused(flags, message, photos, capsys):
    assert run(["find-lr", str(photos), *SWEPT, *flags]) == 2
    assert message in capsys.readouterr().err
