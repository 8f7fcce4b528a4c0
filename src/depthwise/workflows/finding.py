"""What was found out about exported files on this machine: how they answer fastest, that they compute what they should.

Kept in the user's cache folder. No torch.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from depthwise import files
from depthwise.deploy.engine import Choice
from depthwise.deploy.verify import fingerprint
from depthwise.errors import CannotWrite, UserError
from depthwise.machine import num_processors, processor

PACKAGES = ("onnxruntime", "openvino")
Work = Literal["single", "many"]
"""Pictures that come one by one, or many at a time."""
RUN_BY = {".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "ai-edge-litert", ".pt2": "torch"}
"""What runs a file when no engine is asked for."""


def _store() -> Path:
    """Return where it is kept how files answer fastest."""
    return files.cache_folder() / "engines.json"


def _passed() -> Path:
    """Return where it is kept which files passed their own pictures."""
    return files.cache_folder() / "passed.json"


def _identity(model: Path) -> list[Any]:
    """Return what must not have changed for a file to have passed; its contents go by size and time."""
    parts = [part.stat() for part in _parts(model)]
    package = RUN_BY[model.suffix]
    return [[[part.st_size, part.st_mtime_ns] for part in parts], processor(), package, _version(package)]


def _parts(model: Path) -> list[Path]:
    """Return the files that a model consists of: OpenVINO's weights lie beside it."""
    weights = model.with_suffix(".bin")
    return [model, weights] if model.suffix == ".xml" and weights.is_file() else [model]


def has_passed(model: Path) -> bool:
    """Return whether `note_passed` saw this file here, as it is now."""
    return files.read_kept(_passed()).get(str(model.resolve())) == _identity(model)


def note_passed(model: Path) -> None:
    """Remember that a file computes here what it should. Where nothing can be kept, it is asked again next time."""
    with suppress(OSError, CannotWrite):
        files.keep(_passed(), {str(model.resolve()): _identity(model)})


def _key(model: Path) -> str:
    """Return everything that the finding depends on."""
    values = {
        "model": fingerprint(b"".join(part.read_bytes() for part in _parts(model))),
        "processor": f"{num_processors()} x {processor()}",
        "versions": {name: _version(name) for name in PACKAGES},
    }
    return json.dumps(values, sort_keys=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def keep(model: Path, fastest: Mapping[Work, Choice]) -> None:
    """Remember how pictures are answered fastest. Each choice must have passed the file's own pictures here.

    Raises CannotWrite where nothing can be kept.
    """
    files.keep(_store(), {_key(model): {work: asdict(choice) for work, choice in fastest.items()}})


def best(model: Path, asked: Choice, work: Work) -> Choice | None:
    """Return what was found for this file, machine and these versions; None without, or where `asked` says how."""
    known = files.read_kept(_store())
    if asked != Choice() or not known or not model.is_file():
        return None
    try:
        return Choice(**known[_key(model)][work])
    except (KeyError, TypeError, UserError):
        return None
