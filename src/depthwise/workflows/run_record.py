"""What a run notes of each of its starts: the command, what it was computed with, and what was left out."""

import platform
import shlex
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
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
        "command": command_of(request),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "environment": environment(),
        "notes": list(notes[:MOST]),
        "num_skipped": len(skipped),
        "skipped": [{"path": str(item.path), "error": item.detail} for item in skipped[:MOST]],
    }


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


def command_of(request: "Request") -> str:
    """Return the command line that starts or goes on with this run: the recipe and what differs from it."""
    words = ["depthwise", "train", str(request.data), "--out", str(request.folder.path)]
    if request.init:
        words += ["--init", str(request.init)]
    words += _train_flags(request.config) + _split_flags(request)
    if request.threads is not None:
        words += ["--threads", str(request.threads)]
    if request.device != "auto":
        words += ["--device", request.device]
    words += ["--tensorboard"] * request.tensorboard + ["--resume"] * request.is_resumed
    return shlex.join(words)


def _train_flags(config: TrainConfig) -> list[str]:
    """Return the recipe and what differs from it; all that differs from the defaults for a recipe of one's own."""
    try:
        usual = read_recipe(config.recipe).stages({})[-1]
    except UserError:
        config = replace(config, recipe="none")
        usual = TrainConfig()
    return ["--recipe", config.recipe, *_flags(config, usual)]


def _split_flags(request: "Request") -> list[str]:
    """Return the flags of the split; its seed is the run's."""
    return _flags(request.split, SplitConfig(seed=request.split.seed)) if request.split else []


def _flags(given: TrainConfig | SplitConfig, usual: TrainConfig | SplitConfig) -> list[str]:
    """Return the settings that differ from the usual ones as flags."""
    flags: list[str] = []
    for field in fields(given):
        name, value = field.name, getattr(given, field.name)
        if value is None or value == getattr(usual, name):
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        else:
            flags += [word for item in (value if isinstance(value, tuple) else (value,)) for word in (flag, str(item))]
    return flags
