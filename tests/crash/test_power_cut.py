"""The power goes at any moment: what was not fsynced is gone, and the run's last checkpoint or the one before is whole.

A run's calls to the disk are recorded. After each of them the disk is imagined as the system may leave it: of data that
was not fsynced nothing, a part, or zeros in its place; of renames since the folder's last fsync any first ones, or all
but one.
"""

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


@pytest.fixture(scope="module")
def calls(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Everything that a run asks of the disk."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "DISK", recorder)
        dw.train(photos, tmp_path_factory.mktemp("recorded") / "run", CONFIG, save_every="1", workers=0)
    return recorder.calls


def test_after_a_power_cut_at_any_moment_a_whole_checkpoint_is_found(calls: Sequence[Call], tmp_path: Path):
    folder, disk = RunFolder(tmp_path), Imagined()
    steps: list[int] = []  # of the checkpoints that were begun
    num_safe = num_states = 0  # checkpoints that are surely on the device; states looked at
    seen: set[tuple[tuple[str, int], ...]] = set()
    for call in calls:
        if call.kind == "write" and call.path == ".last.safetensors.tmp":
            steps.append(step_in(call.data, tmp_path))
        disk.apply(call)
        num_safe = len(steps) if call.kind == "sync_folder" else num_safe
        for state in disk.after_power_cut():
            num_states += 1
            key = (*((name, hash(data)) for name, data in sorted(state.items())), ("safe", num_safe))
            if key not in seen:
                seen.add(key)
                check(folder, state, steps, num_safe)
    print(f"\nstates: {num_states}, of which different: {len(seen)}; without a whole checkpoint: 0")
    assert len(seen) >= 1000


def check(folder: RunFolder, state: dict[str, bytes], steps: list[int], num_safe: int) -> None:
    """Put the state on a real disk and go on from it."""
    for path in folder.path.iterdir():
        path.unlink()
    for name, data in state.items():
        (folder.path / name).write_bytes(data)
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
