"""RUN: the folder of one training run, and what lies in it."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise import artifact, files
from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.index import Index, digest_of_split, read_index
from depthwise.deploy.engine import SUFFIXES
from depthwise.errors import Damaged, UserError

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "head"
"""Folder in a run folder of the stage that trains the last layer alone."""
NAMES = (
    "previous.safetensors",  # first, and last next: were the removal cut off here, nobody would go on from old weights
    "last.safetensors",
    "best.safetensors",
    "config.toml",
    "splits.csv",
    "metrics.jsonl",
    "metrics.csv",
    "timings.jsonl",
    "starts.jsonl",
    "report.html",
    "report-test.html",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths in a run folder; the folder itself need not exist yet."""

    path: Path

    @property
    def best(self) -> Path:
        """Everything to predict."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """Everything to go on training."""
        return self.path / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last one: what to go on from should that be damaged."""
        return self.path / "previous.safetensors"

    @property
    def metrics(self) -> Path:
        """An object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def table(self) -> Path:
        """The same as a table, for spreadsheets."""
        return self.path / "metrics.csv"

    @property
    def timings(self) -> Path:
        """Seconds per epoch."""
        return self.path / "timings.jsonl"

    @property
    def starts(self) -> Path:
        """Command, versions and findings, an object each time that the run was started or resumed."""
        return self.path / "starts.jsonl"

    @property
    def config(self) -> Path:
        """The settings."""
        return self.path / "config.toml"

    @property
    def tensorboard(self) -> Path:
        """Folder of events for TensorBoard, where they were asked for."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def test_report(self) -> Path:
        """The page about the test pictures."""
        return self.path / "report-test.html"

    @property
    def splits(self) -> Path:
        """The split that the run uses."""
        return self.path / "splits.csv"

    def read_split(self, card: Card, console: Quiet) -> Index | None:
        """Return the split by which the model with this card was trained; None, with a warning, where another is here.

        A splits.csv beside a model file may be of another run, changed since, or no split at all.
        """
        wanted = card.training.get("split_sha256")
        if wanted is None or not self.splits.exists():
            return None
        with contextlib.suppress(UserError):
            index = read_index(self.splits)
            if digest_of_split(index.records) == wanted:
                return index
        console.warn(
            f"{self.splits} is not the split that the model was trained by, or was changed since: it is not used. "
            "Bring back the run's own, or name photos that the model has not seen"
        )
        return None

    @property
    def test_reads(self) -> Path:
        """A line each time that the test photos were looked at; not in NAMES, it outlives the run."""
        return self.path / "test_reads.jsonl"

    @property
    def is_used(self) -> bool:
        """True when weights of a run are here."""
        return self.best.exists() or self.has_checkpoint

    @property
    def has_checkpoint(self) -> bool:
        """True when there is something to go on from."""
        return self.last.exists() or self.previous.exists()

    def check_free(self, *, overwrite: bool) -> None:
        """Raise UserError when a run is here and may not be replaced."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another folder by --out")
        if self.is_used and not overwrite:
            raise UserError(
                f"{self.path} already holds a run. Go on with it by --resume, replace it by --overwrite, "
                "or choose another folder by --out."
            )

    def open_new(self) -> None:
        """Make the folder, without the files of an earlier run."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in NAMES:
                (self.path / name).unlink(missing_ok=True)
            for events in self.tensorboard.glob("events.out.tfevents.*"):
                events.unlink()
        except OSError as error:
            raise UserError(f"cannot prepare the run folder {self.path}: {error.strerror}") from error

    def remove_head(self) -> None:
        """Remove the files of an earlier run's first stage."""
        head = self.path / HEAD
        try:
            for name in NAMES if head.is_dir() else ():
                (head / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody's own files are in it
                head.rmdir()
        except OSError as error:
            raise UserError(f"cannot prepare the run folder {self.path}: {error.strerror}") from error

    def write_config(self, values: dict[str, Any]) -> None:
        """Write config.toml."""
        import tomli_w

        files.write_whole(self.config, tomli_w.dumps(values).encode())

    def read_checkpoint(self, console: Quiet) -> "tuple[Card, dict[str, Tensor]]":
        """Return the last checkpoint that is whole. Raises UserError when there is none.

        A `last` that is damaged is replaced by `previous`, with a warning: else the next save would keep the damaged
        one as `previous`. One that is missing, because a save was cut off between its two renames, is no damage.
        """
        if not self.last.exists():
            return artifact.read(self.previous)
        try:
            return artifact.read(self.last)
        except Damaged as error:
            if not self.previous.exists():
                raise
            found = artifact.read(self.previous)
            console.warn(f"{error} Going on from {self.previous.name}, the checkpoint before it.")
            files.replace(self.previous, self.last)
            return found

    def add_timing(self, row: dict[str, Any]) -> None:
        """Append to timings.jsonl; a clock's reading is worth no more care than that, and no stop on a full disk."""
        _append(self.timings, row)

    def add_start(self, row: dict[str, Any]) -> None:
        """Append to starts.jsonl, with as much care."""
        _append(self.starts, row)


def _append(path: Path, row: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def find_model(path: str | Path) -> Path:
    """Return the model file that `path` means: itself, or best.safetensors in a run folder. Raises UserError."""
    path = Path(path)
    if not path.is_dir():
        if path.suffix not in SUFFIXES and path.suffix.lower() in SUFFIXES:
            raise UserError(f"{path}: name it {path.with_suffix(path.suffix.lower()).name}: its ending says what it is")
        return path
    if not RunFolder(path).best.exists():
        why = "training was stopped before its first epoch ended" if RunFolder(path).is_used else "not a run folder"
        raise UserError(f"{path}: there is no best.safetensors in this folder ({why})")
    return RunFolder(path).best
