"""`train --tensorboard`: a point per number and epoch, once, however often the run was stopped."""

import importlib.util
import json

import pytest

from conftest import FLAGS
from depthwise.cli import run
from depthwise.workflows.tensorboard_events import Events, tag


def points(folder):
    """All points as TensorBoard reads them, but with nothing hidden: {tag: [(epoch, value)]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), purge_orphaned_data=False)
    found.Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_points_are_the_metrics_also_after_a_resume(photos, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", str(photos), "--out", str(out), *FLAGS]
    assert run([*command, "--epochs", "2", "--tensorboard"]) == 0
    assert run([*command, "--epochs", "4", "--tensorboard", "--resume"]) == 0
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = points(out / "tensorboard")
    assert [epoch for epoch, _ in found["loss/train"]] == [1, 2, 3, 4]
    for name in ("train_loss", "valid_loss", "valid_top1", "lr"):
        assert found[tag(name)] == [(row["epoch"], pytest.approx(row[name])) for row in rows]
    assert "epoch" not in found and "step" not in found


def test_events_asked_for_late_have_all_epochs_and_those_of_an_epoch_done_twice_are_there_once(tmp_path):
    rows = [{"epoch": e, "step": e, "train_loss": 1 / e} for e in (1, 2, 3)]
    cut_off = Events(tmp_path, rows[:1])
    cut_off.add(rows[1])  # then the power fails, before the checkpoint is written
    going_on = Events(tmp_path, rows[:1])
    for row in rows[1:]:
        going_on.add(row)
    going_on.close()
    assert points(tmp_path) == {"loss/train": [(e, pytest.approx(1 / e)) for e in (1, 2, 3)]}
    cut_off.close()


def test_names_are_grouped():
    assert [tag(name) for name in ("train_loss", "valid_top1", "lr")] == ["loss/train", "top1/valid", "lr"]


def test_a_new_run_has_no_points_of_the_old_one(photos, tmp_path):
    out = tmp_path / "run"
    command = ["train", str(photos), "--out", str(out), *FLAGS, "--epochs", "1"]
    assert run([*command, "--tensorboard"]) == 0
    assert run([*command, "--overwrite"]) == 0
    assert not list((out / "tensorboard").iterdir())


def test_a_missing_package_is_said_before_anything_is_done(photos, tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--tensorboard"]) == 2
    said = capsys.readouterr().err
    assert "--tensorboard needs tensorboard" in said and "pip install 'depthwise[tensorboard]'" in said
    assert not (tmp_path / "run").exists()
