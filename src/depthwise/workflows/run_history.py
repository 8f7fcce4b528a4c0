"""What a run folder tells of its own course: metrics, seconds, starts, settings, files. Imports no torch."""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from depthwise.workflows.run_folder import NAMES, RunFolder


class RunFile(NamedTuple):
    """A file of a run."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class History:
    """The course of a run, as far as its folder tells; all empty where there is no run."""

    rows: tuple[dict[str, Any], ...]
    """An object per epoch, as in metrics.jsonl."""
    timings: dict[int, dict[str, float]]
    """By epoch: train_s, valid_s, images_per_s, since the start or the stop; of one that was done twice, the last."""
    parts: dict[tuple[int, float], float]
    """Seconds of an epoch, by epoch and process, that was going on when its process last saved."""
    starts: tuple[dict[str, Any], ...]
    """As `run_record.describe_start` makes them, the first start first."""
    config: dict[str, Any]
    """What config.toml holds."""

    @property
    def num_epochs(self) -> int:
        """Epochs that the run was asked for; those that are done where nothing tells."""
        return int(self.config.get("train", {}).get("epochs", len(self.rows)))

    @property
    def seconds(self) -> float:
        """Spent in training and validation, as far as it was noted; also before a stop in the middle of an epoch."""
        closed = {(epoch, row.get("process")) for epoch, row in self.timings.items()}
        begun = sum(seconds for part, seconds in self.parts.items() if part not in closed)
        return begun + sum(row.get("train_s", 0.0) + row.get("valid_s", 0.0) for row in self.timings.values())


def read_history(folder: RunFolder) -> History:
    """Read a run folder. A line that is cut short, or missing, is left out: the run may be going on."""
    noted = _rows(folder.timings)
    timings = {int(row["epoch"]): row for row in noted if "epoch" in row}
    parts = {(int(r["part_of_epoch"]), r["process"]): r["seconds"] for r in noted if "part_of_epoch" in r}
    return History(tuple(_rows(folder.metrics)), timings, parts, tuple(_rows(folder.starts)), _settings(folder.config))


def read_files(folder: RunFolder) -> tuple[RunFile, ...]:
    """Return the files that belong to a run, but for pages made from them."""
    found = []
    for name in sorted(NAMES):
        path = folder.path / name
        if path.is_file() and path.suffix != ".html":
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(RunFile(name, path.stat().st_size, digest))
    return tuple(found)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
