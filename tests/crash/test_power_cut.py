"""The power goes at any moment: what was not fsynced is gone, and the run's last checkpoint or the one before is whole.

A run's calls to the disk are recorded. After each of them the disk is imagined as the system may leave it: of data that
was not fsynced nothing, a part, or zeros in its place; of renames since the folder's last fsync any first ones, or all
but one.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pytest

import depthwise as dw
from depthwise import artifact, files
from depthwise.console import Quiet
from depthwise.workflows.run_folder import RunFolder

CONFIG = dw.TrainConfig(model="lenet5", epochs=14, batch_size=8, lr=0.05)
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "splits.csv", "config.toml")
NUM_RESUMED = 12


class Call(NamedTuple):
    """One call to the disk."""

    kind: str  # create, write, sync, rename, remove, sync_folder
    path: str
    target: str = ""
    data: bytes = b""


class Recorder(files.Disk):
    """Carries out every call and remembers it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def create(self, path: Path) -> BinaryIO:
        self.calls.append(Call("create", path.name))
        return super().create(path)

    def write(self, file: BinaryIO, data: bytes) -> None:
        self.calls.append(Call("write", Path(file.name).name, data=data))
        super().write(file, data)

    def sync(self, file: BinaryIO) -> None:
        super().sync(file)
        self.calls.append(Call("sync", Path(file.name).name))

    def rename(self, source: Path, target: Path) -> None:
        self.calls.append(Call("rename", source.name, target.name))
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.calls.append(Call("remove", path.name))

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.calls.append(Call("sync_folder", ""))


@dataclass
class Contents:
    """A file, whatever its name."""

    written: bytes = b""
    safe: bytes = b""

    def unsafe(self) -> Iterator[bytes]:
        """Yield what may be found after a power cut instead of `safe`: a part, zeros in place of a part, or all."""
        if self.written == self.safe:
            return
        size = len(self.written)
        for kept in (1, size // 3, size // 2, size - 1):
            yield self.written[:kept]
            yield self.written[:kept] + bytes(size - kept)
        yield bytes(size)
        yield self.written


Names = dict[str, Contents]


@dataclass
class Imagined:
    """A folder as the system sees it, and as it is on the device."""

    names: Names = field(default_factory=dict)
    safe_names: Names = field(default_factory=dict)
    pending: list[Callable[[Names], None]] = field(default_factory=list)
    """Changes of names since the folder's last fsync."""

    def apply(self, call: Call) -> None:
        if call.kind == "write":
            self.names[call.path].written += call.data
        elif call.kind == "sync":
            self.names[call.path].safe = self.names[call.path].written
        elif call.kind == "sync_folder":
            self.safe_names, self.pending = dict(self.names), []
        else:
            change = partial(_create, call.path, Contents()) if call.kind == "create" else partial(_move, call)
            change(self.names)
            self.pending.append(change)

    def after_power_cut(self) -> Iterator[dict[str, bytes]]:
        """Yield the folder's possible contents."""
        kept = [self.pending[:number] for number in range(len(self.pending) + 1)]
        kept += [[*self.pending[:number], *self.pending[number + 1 :]] for number in range(len(self.pending))]
        for changes in kept:
            names = dict(self.safe_names)
            for change in changes:
                change(names)
            yield from _combinations(names)


def _create(path: str, contents: Contents, names: Names) -> None:
    names[path] = contents


def _move(call: Call, names: Names) -> None:
    contents = names.pop(call.path, None)
    if contents and call.kind == "rename":
        names[call.target] = contents


def _combinations(names: Names) -> Iterator[dict[str, bytes]]:
    """Yield what the files may hold: all safe parts, then each unsafe file in each of its forms."""
    yield {name: contents.safe for name, contents in names.items()}
    for name, contents in names.items():
        for form in contents.unsafe():
            yield {other: form if other == name else c.safe for other, c in names.items()}


class Recorded(NamedTuple):
    """A run that was not broken off."""

    folder: Path
    calls: list[Call]
    """Everything that it asked of the disk."""
    end: dict[str, bytes]
    """What its folder holds at the end."""


@pytest.fixture(scope="module")
def recorded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    recorder, out = Recorder(), tmp_path_factory.mktemp("recorded") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "DISK", recorder)
        dw.train(photos, out, CONFIG, save_every="1", workers=0)
    return Recorded(out, recorder.calls, {name: (out / name).read_bytes() for name in FILES})


def states_of(calls: Sequence[Call], folder: Path) -> Iterator[tuple[dict[str, bytes], list[int], int]]:
    """Yield each different state after a power cut, the steps of checkpoints begun, how many are surely safe."""
    disk = Imagined()
    steps: list[int] = []
    num_safe = 0
    seen: set[tuple[tuple[str, int], ...]] = set()
    for call in calls:
        if call.kind == "write" and call.path == ".last.safetensors.tmp":
            steps.append(step_in(call.data, folder))
        disk.apply(call)
        num_safe = len(steps) if call.kind == "sync_folder" else num_safe
        for state in disk.after_power_cut():
            key = (*((name, hash(data)) for name, data in sorted(state.items())), ("safe", num_safe))
            if key not in seen:
                seen.add(key)
                yield state, steps, num_safe


def put(state: dict[str, bytes], folder: Path) -> None:
    """Let a folder hold this state and nothing else."""
    for path in folder.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    for name, data in state.items():
        (folder / name).write_bytes(data)


def test_after_a_power_cut_at_any_moment_a_whole_checkpoint_is_found(recorded: Recorded, tmp_path: Path):
    (tmp_path / "run").mkdir()
    number = 0
    for state, steps, num_safe in states_of(recorded.calls, tmp_path):
        number += 1
        put(state, tmp_path / "run")
        check(RunFolder(tmp_path / "run"), steps, num_safe)
    assert number >= 1000


def test_a_run_goes_on_to_the_same_bytes_from_what_a_power_cut_left(recorded: Recorded, photos: Path, tmp_path: Path):
    states = [state for state, _, _ in states_of(recorded.calls, tmp_path)]
    rng = random.Random(0)
    num_begun = 0
    for state in rng.sample(states, NUM_RESUMED):
        put(state, recorded.folder)
        num_begun += RunFolder(recorded.folder).has_checkpoint
        dw.train(photos, recorded.folder, CONFIG, workers=0, resume="auto")
        assert {name: (recorded.folder / name).read_bytes() for name in FILES} == recorded.end
    assert num_begun > NUM_RESUMED // 2


def check(folder: RunFolder, steps: list[int], num_safe: int) -> None:
    """Look for the checkpoint, its best model and its epochs' rows."""
    if not num_safe and not folder.has_checkpoint:
        return  # the run starts again
    card, _ = folder.read_checkpoint(Quiet())
    position = card.training["position"]
    assert position["step"] in steps[max(0, num_safe - 1) :]  # the old one or the new one
    if position["best_epoch"]:
        assert artifact.read(folder.best)[0].training["epoch"] >= position["best_epoch"]
    rows = folder.metrics.read_text().splitlines() if position["epoch"] else []
    assert len(rows) >= position["epoch"]


def step_in(data: bytes, folder: Path) -> int:
    (folder / "one").write_bytes(data)
    step = artifact.read_card(folder / "one").training["position"]["step"]
    assert isinstance(step, int)
    return step
