"""A run that is stopped and goes on ends as one that was not stopped: to the byte."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

import depthwise as dw
from conftest import FLAGS
from depthwise import artifact
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.errors import Diverged, Interrupted, UserError
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.run_history import read_history

CONFIG = dw.TrainConfig(model="mobilenet_v2", set=("width=0.35",), epochs=3, batch_size=8, lr=0.05, image_size=16)
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "splits.csv", "config.toml")


class Stopping(Quiet):
    """Sends a signal to this process after a number of the loop's reports."""

    def __init__(self, after: int, signum: int = signal.SIGINT) -> None:
        self.after, self.signum = after, signum

    def track(self, items: Iterable, total: int, label: str) -> Iterator:
        for number, item in enumerate(items, start=1):
            if label == "Training" and number == self.after:
                signal.raise_signal(self.signum)
            yield item


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    dw.train(photos, out, CONFIG, workers=2)
    return out


@pytest.mark.parametrize("after", [1, 2, 4, 5, 8, 11])  # 3 steps and the epoch's end make 4 reports
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_goes_on_to_the_same_bytes(after, workers, photos, unbroken, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="--resume") as caught:
        dw.train(photos, out, CONFIG, workers=workers, console=Stopping(after))
    assert caught.value.signum == signal.SIGINT
    dw.train(photos, out, CONFIG, workers=workers, resume="auto")
    assert contents(out) == contents(unbroken)


def test_the_seconds_before_a_stop_are_counted(photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        dw.train(photos, out, CONFIG, workers=0, console=Stopping(6))
    stopped = read_history(RunFolder(out))
    assert [epoch for epoch, _ in stopped.parts] == [2]
    dw.train(photos, out, CONFIG, workers=0, resume="auto")
    whole = read_history(RunFolder(out))
    assert sorted(whole.timings) == [1, 2, 3]
    noted = sum(row["train_s"] + row["valid_s"] for row in whole.timings.values())
    assert whole.seconds == pytest.approx(noted + sum(stopped.parts.values()))


def test_a_run_may_be_stopped_again_and_again(photos, unbroken, tmp_path):
    out = tmp_path / "run"
    for _ in range(5):
        with pytest.raises(Interrupted):
            dw.train(photos, out, CONFIG, resume="auto", console=Stopping(1, signal.SIGTERM))
    dw.train(photos, out, CONFIG, resume="auto")
    assert contents(out) == contents(unbroken)


def test_the_signal_handlers_are_given_back(photos, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        dw.train(photos, tmp_path / "run", CONFIG, console=Stopping(2))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in [folder, *folder.iterdir()]
        if path.is_file()
    } | {"": (b"", folder.stat().st_mtime_ns)}


def test_a_finished_run_is_left_as_it_is(photos, tmp_path, capsys):
    command = ["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--epochs", "2", "--resume"]
    assert run(command) == 0
    before = tree(tmp_path / "run")
    assert run(command) == 0
    assert "has its 2 epochs already; nothing to do" in capsys.readouterr().out
    assert run([*command[:-2], "1", "--resume"]) == 0  # fewer epochs than it has
    assert tree(tmp_path / "run") == before


@pytest.mark.parametrize("ways", [["--resume"], ["--resume", "auto"], ["--resume=auto"]])
def test_resume_alone_means_auto(ways, photos, tmp_path, capsys):
    out = tmp_path / "run"
    for number in (1, 2):
        assert (
            run(["train", *ways[:1], *ways[1:], str(photos), "--out", str(out), *FLAGS, "--epochs", str(number)]) == 0
        )
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert run(["train", str(photos), "--out", str(out), *FLAGS, "--resume", "never"]) == 2
    assert "already holds a run. Go on with it by --resume" in capsys.readouterr().err


@pytest.mark.parametrize("save_every", ["1", "2", "1s", "1000"])
def test_how_often_a_run_is_saved_changes_nothing(save_every, photos, unbroken, tmp_path):
    dw.train(photos, tmp_path / "run", CONFIG, save_every=save_every)
    assert contents(tmp_path / "run") == contents(unbroken)


def test_more_epochs_take_up_the_longer_schedule_at_their_step(photos, tmp_path):
    from dataclasses import replace

    from depthwise.training.schedule import learning_rate

    out = tmp_path / "run"
    dw.train(photos, out, CONFIG, workers=0)
    dw.train(photos, out, replace(CONFIG, epochs=5), workers=0, resume="auto")
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [learning_rate(row["step"] - 1, 3, CONFIG) for row in rows[:3]]
    rates += [learning_rate(row["step"] - 1, 3, replace(CONFIG, epochs=5)) for row in rows[3:]]
    assert [row["lr"] for row in rows] == rates
    assert rates[3] > rates[2]


def test_threads_are_stored_reused_and_not_changed_unasked(photos, tmp_path, capsys):
    command = ["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--resume"]
    usual = torch.get_num_threads()
    try:
        assert run([*command, "--epochs", "1", "--threads", "2"]) == 0
        torch.set_num_threads(1)
        assert run([*command, "--epochs", "2"]) == 0
        assert torch.get_num_threads() == 2
        assert run([*command, "--epochs", "3", "--threads", "1"]) == 2
        said = capsys.readouterr().err
        assert "threads: 2 in the run, 1 now" in said and "--allow-changes" in said
        assert run([*command, "--epochs", "3", "--threads", "1", "--allow-changes"]) == 0
        card = artifact.read_card(tmp_path / "run" / "last.safetensors")
        assert card.training["machine"] == {"device": "cpu", "threads": 1, "processes": 1}
    finally:
        torch.set_num_threads(usual)


def test_a_stop_in_validation_is_answered_at_once(photos, unbroken, tmp_path, monkeypatch):
    """The signal comes with the first batch of the second validation; no further batch is looked at."""
    from depthwise.training import loop
    from depthwise.workflows import training

    real_run, seen = training.run, []

    def run_and_stop(*arguments, **options):
        for report in real_run(*arguments, **options):
            if isinstance(report, loop.ValidationReport) and arguments[0].epoch == 1:
                seen.append(report)
                if len(seen) == 1:
                    signal.raise_signal(signal.SIGTERM)
            yield report

    monkeypatch.setattr(training, "run", run_and_stop)
    with pytest.raises(Interrupted, match="Stopped after step 6, 1 of 3 epochs done"):
        dw.train(photos, tmp_path / "run", CONFIG)
    assert len(seen) == 1
    monkeypatch.undo()
    dw.train(photos, tmp_path / "run", CONFIG, resume="auto")
    assert contents(tmp_path / "run") == contents(unbroken)


def test_numbers_that_go_wrong_name_the_checkpoint_and_leave_it(photos, tmp_path, capsys):
    command = [
        "train",
        str(photos),
        "--out",
        str(tmp_path / "run"),
        *FLAGS[:-4],
        "--set",
        "activation=relu",
        "--resume",
    ]
    assert run([*command, "--lr", "0.05", "--epochs", "1"]) == 0
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    assert run([*command, "--lr", "1000", "--epochs", "9", "--allow-changes"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"(loss became|weights are not finite)", said)
    assert f"The last good checkpoint: {tmp_path / 'run' / 'last.safetensors'} (step 6)" in said
    assert "--resume --allow-changes" in said and "a lower --lr (it is 1000), or --clip-grad 1" in said
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before


def test_weights_that_are_no_numbers_are_never_saved(photos, tmp_path, monkeypatch):
    from depthwise.training import loop

    real_step, out = loop.Loop.step, tmp_path / "run"

    def spoil(self, mine, size):
        loss = real_step(self, mine, size)
        if self.state.step == 1:
            next(self.state.model.parameters()).data[0] = float("inf")
        return loss

    monkeypatch.setattr(loop.Loop, "step", spoil)
    with pytest.raises(
        Diverged, match=r"weights are not finite any more after step 2.*\n.*last\.safetensors \(step 1\)"
    ):
        dw.train(photos, out, CONFIG, save_every="1")
    assert artifact.read_card(out / "last.safetensors").training["position"]["step"] == 1


def test_a_worker_that_fails_ends_the_run_with_its_error(photos, tmp_path, monkeypatch):
    from depthwise.data import loader

    def fail(*_, **__):
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(loader, "augment", fail)
    for workers in (0, 2):
        with pytest.raises(MemoryError, match="no room for a batch"):
            dw.train(photos, tmp_path / f"run{workers}", CONFIG, workers=workers)


def test_a_finished_run_takes_more_epochs(photos, unbroken, tmp_path):
    from dataclasses import replace

    out = tmp_path / "run"
    shutil.copytree(unbroken, out)
    first = (out / "metrics.jsonl").read_text()
    # The copy lies elsewhere, so the manifest's relative paths must be made anew.
    shutil.copy(_absolute(unbroken / "splits.csv", tmp_path), out / "splits.csv")
    assert dw.train(photos, out, replace(CONFIG, epochs=4), resume="auto").num_epochs == 4
    assert (out / "metrics.jsonl").read_text().startswith(first)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


def _absolute(manifest: Path, folder: Path) -> Path:
    lines = manifest.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",", 1) for line in lines[1:]]
    text = "\n".join([lines[0], *(f"{os.path.normpath(manifest.parent / path)},{rest}" for path, rest in rows)])
    (folder / "absolute.csv").write_text(text, encoding="utf-8")
    return folder / "absolute.csv"


def test_other_settings_are_refused_by_name(photos, tmp_path, capsys):
    command = ["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--resume", "auto"]
    assert run([*command, "--epochs", "1"]) == 0
    assert run([*command, "--epochs", "2", "--momentum", "0.5", "--no-flip"]) == 2
    said = capsys.readouterr().err
    assert "flip: not given in the run, False now" in said
    assert "momentum: 0.9 in the run, 0.5 now" in said
    assert "--allow-changes" in said
    assert run([*command, "--epochs", "2", "--momentum", "0.5", "--allow-changes"]) == 0
    assert run([*command, "--epochs", "3", "--image-size", "32", "--allow-changes"]) == 2
    assert "cannot go on as another network, with another input" in capsys.readouterr().err


def test_changed_pictures_are_refused(photos, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    command = ["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, "--resume", "auto"]
    assert run([*command, "--epochs", "1"]) == 0
    for photo in (data / "猫").iterdir():
        shutil.copy(photos / "red fox" / photo.name, photo)
    assert run([*command, "--epochs", "2"]) == 2
    assert "have changed since it was started" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_checkpoint_whole(photos, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        dw.train(photos, out, CONFIG, console=Stopping(6))
    before = contents(out)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        dw.train(photos, out, CONFIG, resume="auto")
    monkeypatch.undo()
    assert contents(out) == before
    assert not list(out.glob(".*"))
    dw.train(photos, out, CONFIG, resume="auto")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_second_signal_ends_at_once(photos, tmp_path):
    """In the first step: a process that waits for the step to end, which never does."""
    code = (
        "import os, signal, sys, time\nfrom depthwise.training.loop import Loop\nfrom depthwise.cli import run\n"
        "def step(self, mine, size):\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('stopping', flush=True)\n"
        "    time.sleep(100)\nLoop.step = step\nsys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", str(photos), "--out", str(tmp_path / "run"), *FLAGS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert any("stopping" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_process_ends_with_the_signals_status_and_says_how_to_go_on(signum, status, photos, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "depthwise", "train", str(photos), "--out", str(out), *FLAGS, "--epochs", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signum)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Go on with the same command and --resume" in said
    assert said.splitlines()[-1] == shlex.join(["depthwise", *command[3:], "--resume"])
    assert "Traceback" not in said
    assert (out / "last.safetensors").exists()


def test_a_killed_process_loses_at_most_the_epoch_under_way(photos, unbroken, tmp_path):
    out = tmp_path / "run"
    network = ("--model", "mobilenet_v2", "--set", "width=0.35", "--image-size", "16", "--recipe", "none")
    flags = (*network, "--batch-size", "8", "--lr", "0.05", "--no-report")
    command = [sys.executable, "-m", "depthwise", "train", str(photos), "--out", str(out), *flags, "--epochs", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while num_rows(out) < 2 and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    card = artifact.read_card(out / "last.safetensors")
    assert 1 <= num_rows(out) - 1 <= card.training["position"]["epoch"]
    assert run([*command[3:], "--resume", "auto"]) == 0
    assert contents(out) == contents(unbroken)
    assert re.fullmatch(r"(?:\{.*\}\n){3}", (out / "metrics.jsonl").read_text())


def num_rows(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0
