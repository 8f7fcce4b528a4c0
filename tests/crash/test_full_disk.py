"""The disk fills up, or refuses: the run says so and goes on; what is on disk stays whole; the end is the same."""

import errno
import itertools
import os
import random
from pathlib import Path
from typing import BinaryIO

import pytest

import depthwise as dw
from depthwise import artifact, files
from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.workflows import checkpoints

CONFIG = dw.TrainConfig(model="lenet5", epochs=3, batch_size=8, lr=0.05)
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "splits.csv", "config.toml")


class Full(files.Disk):
    """Takes `room` bytes, then fails for `times` writes, the first time in the middle of one; then has room again."""

    def __init__(self, room: int, times: int, number: int) -> None:
        self.room, self.times, self.number = room, times, number
        self.taken = 0

    def write(self, file: BinaryIO, data: bytes) -> None:
        self.taken += len(data)
        if self.taken > self.room and self.times:
            self.times -= 1
            super().write(file, data[: max(0, self.room - self.taken + len(data))])
            raise OSError(self.number, os.strerror(self.number))
        super().write(file, data)


class Heard(Quiet):
    """Keeps what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def train(photos: Path, out: Path, console: Quiet | None = None) -> None:
    dw.train(photos, out, CONFIG, resume="auto", save_every="2", workers=0, console=console)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(photos, out)
    return contents(out)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE_S", 0)


def test_a_disk_that_is_full_at_any_byte_costs_no_result(
    photos: Path, unbroken: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rng = random.Random(3)
    counting = Full(2**60, 0, 0)
    monkeypatch.setattr(files, "DISK", counting)
    train(photos, tmp_path / "counted")
    refused = 0
    for number in range(100):
        out, heard = tmp_path / str(number), Heard()
        times = rng.choice((1, 1, 2, 3, 6, 1000))
        disk = Full(rng.randrange(counting.taken), times, rng.choice((errno.ENOSPC, errno.EROFS, errno.EDQUOT)))
        monkeypatch.setattr(files, "DISK", disk)
        try:
            train(photos, out, heard)
        except UserError as error:
            assert os.strerror(disk.number) in str(error)
            refused += 1
            monkeypatch.setattr(files, "DISK", files.Disk())
            train(photos, out)  # the same command, with room again
        else:
            assert times < 1000 and heard.warnings
        assert not list(out.glob(".*")), "a temporary file stayed"
        assert contents(out) == unbroken
    print(f"\nfull disks: 100, of which ended the run: {refused}; other results: 0")
    assert 0 < refused < 100


def at_checkpoints(monkeypatch: pytest.MonkeyPatch, failures: range) -> None:
    """Let those writes of checkpoints fail whose number is in `failures`, counted from 0."""
    numbers = itertools.count()

    class Disk(files.Disk):
        def write(self, file: BinaryIO, data: bytes) -> None:
            if Path(file.name).name == ".last.safetensors.tmp" and next(numbers) in failures:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(file, data)

    monkeypatch.setattr(files, "DISK", Disk())


def test_one_failure_is_tried_again_at_once(photos: Path, unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    at_checkpoints(monkeypatch, range(1))
    heard = Heard()
    train(photos, tmp_path / "run", heard)
    (said,) = heard.warnings
    assert "cannot write" in said and said.endswith("nothing was written. Trying once more.")
    assert contents(tmp_path / "run") == unbroken


def test_two_failures_are_said_and_training_goes_on(
    photos: Path, unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    at_checkpoints(monkeypatch, range(2, 4))  # the first is written before the first step
    heard = Heard()
    train(photos, tmp_path / "run", heard)
    assert len(heard.warnings) == 2
    assert "Training goes on and tries again at the next save. The last good checkpoint:" in heard.warnings[1]
    assert heard.warnings[1].rstrip().endswith("last.safetensors (step 2).")
    assert contents(tmp_path / "run") == unbroken


def test_a_final_save_that_fails_ends_with_what_to_do(
    photos: Path, unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    at_checkpoints(monkeypatch, range(5, 1000))
    with pytest.raises(UserError) as got:
        train(photos, tmp_path / "run")
    said = str(got.value)
    assert "No space left on device" in said and "last.safetensors (step 6)" in said
    assert said.endswith("Make room, then give the same command with --resume.")
    assert artifact.read_card(tmp_path / "run" / "last.safetensors").training["position"]["step"] == 6
    monkeypatch.setattr(files, "DISK", files.Disk())
    train(photos, tmp_path / "run")
    assert contents(tmp_path / "run") == unbroken


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "noise"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage: str, photos: Path, unbroken, tmp_path: Path):
    out, heard = tmp_path / "run", Heard()
    dw.train(photos, out, CONFIG, save_every="2", workers=0)
    last = out / "last.safetensors"
    data = last.read_bytes()
    spoilt = {"cut": data[:-9], "flipped": data[:-9] + b"?" + data[-8:], "empty": b"", "noise": b"\x07" * 999}
    last.write_bytes(spoilt[damage])
    train(photos, out, heard)
    assert "Going on from previous.safetensors, the checkpoint before it." in heard.warnings[0]
    assert contents(out) == unbroken
    artifact.read(out / "previous.safetensors")  # not the damaged one


def test_two_damaged_checkpoints_are_refused(photos: Path, tmp_path: Path):
    out = tmp_path / "run"
    dw.train(photos, out, CONFIG, save_every="2", workers=0)
    for name in ("last.safetensors", "previous.safetensors"):
        (out / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"previous\.safetensors: not a depthwise model file, or one cut short"):
        train(photos, out)
