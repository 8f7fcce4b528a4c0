"""What a run notes of each of its starts: the command, what it was computed with, and what was left out."""

import platform
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.config import SplitConfig, TrainConfig
from depthwise.data.audit import Skipped
from depthwise.errors import UserError
from depthwise.machine import num_processors, processor
from depthwise.workflows.recipes import read_recipe

if TYPE_CHECKING:
    from depthwise.workflows.training_start import Request

PACKAGES = ("depthwise", "torch", "numpy", "pillow", "numba")
MOST = 100
"""Pictures that were left out and notes that are kept by name; the pictures are counted, too."""


def describe_start(
    request: "Request", machine: dict[str, Any], skipped: Sequence[Skipped], notes: Sequence[str]
) -> dict[str, Any]:
    """Return a row of starts.jsonl."""
    return {
        "command": request.command or _command(request),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "environment": environment(),
        "notes": list(notes[:MOST]),
        "num_skipped": len(skipped),
        "skipped": [{"path": str(item.path), "error": item.detail} for item in skipped[:MOST]],
    }


def with_findings(row: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a row of starts.jsonl with the notes and the pictures left out of an earlier stage's rows, too."""
    rows = [*earlier, row]
    notes = dict.fromkeys(note for one in rows for note in one["notes"])
    skipped = [item for one in rows for item in one["skipped"]]
    num_skipped = sum(one["num_skipped"] for one in rows)
    return {**row, "notes": [*notes][:MOST], "num_skipped": num_skipped, "skipped": skipped[:MOST]}


def environment() -> dict[str, str]:
    """Return versions and machine, by name."""
    return {
        "Python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "system": platform.platform(terse=True),
        "processor": f"{processor()}, {num_processors()} cores",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def command_line(
    data: str | Path,
    out: Path,
    settings: Mapping[str, Any],
    *,
    init: str | Path | None = None,
    split: SplitConfig | None = None,
    threads: int | None = None,
    device: str = "auto",
    tensorboard: bool = False,
    is_resumed: bool = False,
) -> str:
    """Return the command line that starts a run, or goes on with it; `settings` are the flags that it takes."""
    words = ["depthwise", "train", str(data), "--out", str(out)]
    words += ["--init", str(init)] * (init is not None)
    words += [word for name, value in settings.items() for word in _flag(name, value)]
    if split:  # its seed is the run's
        words += [word for name, value in differing(split, SplitConfig(seed=split.seed)) for word in _flag(name, value)]
    words += ["--threads", str(threads)] * (threads is not None) + ["--device", device] * (device != "auto")
    return shlex.join(words + ["--tensorboard"] * tensorboard + ["--resume"] * is_resumed)


def _command(request: "Request") -> str:
    return command_line(
        *(request.data, request.folder.path, _settings(request.config)),
        init=request.init,
        split=request.split,
        threads=request.threads,
        device=request.device,
        tensorboard=request.tensorboard,
        is_resumed=request.is_resumed,
    )


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return the recipe and what differs from it; all that differs from the defaults for a recipe of one's own."""
    try:
        name, usual = config.recipe, read_recipe(config.recipe).stages({})[-1]
    except UserError:
        name, usual = "none", TrainConfig()
    return {"recipe": name, **dict(differing(replace(config, recipe=name), replace(usual, recipe=name)))}


def differing(given: TrainConfig | SplitConfig, usual: TrainConfig | SplitConfig) -> Iterator[tuple[str, Any]]:
    """Yield the settings that differ from the usual ones."""
    for field in fields(given):
        if getattr(given, field.name) != getattr(usual, field.name):
            yield field.name, getattr(given, field.name)


def _flag(name: str, value: Any) -> list[str]:
    """Return the words of one setting; none where it is open."""
    flag = f"--{name.replace('_', '-')}"
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if name == "short_side":
        return [flag, *map(str, value)]
    return [word for item in (value if isinstance(value, tuple) else (value,)) for word in (flag, str(item))]
