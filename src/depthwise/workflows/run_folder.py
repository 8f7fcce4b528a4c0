"""RUN: the folder of one training run, and what lies in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthwise import files
from depthwise.errors import UserError

NAMES = ("best.safetensors", "last.safetensors", "config.toml", "splits.csv", "metrics.jsonl", "timings.jsonl")


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
    def splits(self) -> Path:
        """The split that the run uses."""
        return self.path / "splits.csv"

    @property
    def is_used(self) -> bool:
        """True when weights of a run are here."""
        return self.best.exists() or self.last.exists()

    def check_free(self, *, overwrite: bool) -> None:
        """Raise UserError when a run is here and may not be replaced."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another folder by --out")
        if self.is_used and not overwrite:
            raise UserError(
                f"{self.path} already holds a run. Go on with it by --resume auto, replace it by --overwrite, "
                "or choose another folder by --out."
            )

    def open_new(self) -> None:
        """Make the folder, without the files of an earlier run."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in NAMES:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot prepare the run folder {self.path}: {error.strerror}") from error

    def write_config(self, values: dict[str, Any]) -> None:
        """Write config.toml."""
        import tomli_w

        files.write_whole(self.path / "config.toml", tomli_w.dumps(values).encode())

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl anew from the run's whole history, so that it never disagrees with the checkpoint."""
        lines = "".join(json.dumps(row) + "\n" for row in history)
        files.write_whole(self.path / "metrics.jsonl", lines.encode())

    def add_timing(self, row: dict[str, Any]) -> None:
        """Append to timings.jsonl; a clock's reading is worth no more care than that."""
        with open(self.path / "timings.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def find_model(path: str | Path) -> Path:
    """Return the model file that `path` means: itself, or best.safetensors in a run folder. Raises UserError."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not RunFolder(path).best.exists():
        why = "training was stopped before its first epoch ended" if RunFolder(path).is_used else "not a run folder"
        raise UserError(f"{path}: there is no best.safetensors in this folder ({why})")
    return RunFolder(path).best
