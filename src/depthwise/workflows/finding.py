"""What `depthwise bench` found fastest for a model on this machine, kept for `evaluate`. No torch."""

import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from depthwise import files
from depthwise.deploy.engine import Choice
from depthwise.deploy.verify import fingerprint
from depthwise.errors import UserError
from depthwise.machine import num_processors, processor

PACKAGES = ("onnxruntime", "openvino")


def _store() -> Path:
    return files.cache_folder() / "engines.json"


def _key(model: Path) -> str:
    """Return everything that the finding depends on."""
    values = {
        "model": fingerprint(model.read_bytes()),
        "processor": f"{num_processors()} x {processor()}",
        "versions": {name: _version(name) for name in PACKAGES},
    }
    return json.dumps(values, sort_keys=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read() -> dict[str, Any]:
    try:
        values = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def keep(model: Path, choice: Choice) -> None:
    """Remember that many pictures are answered fastest so. `choice` must have passed the file's own pictures here."""
    _store().parent.mkdir(parents=True, exist_ok=True)
    whole = _read() | {_key(model): asdict(choice)}
    files.write_whole(_store(), (json.dumps(whole, indent=1) + "\n").encode())


def best(model: Path, asked: Choice) -> Choice | None:
    """Return what was found for this file, machine and these versions; None without, or where `asked` says how."""
    if asked != Choice() or not model.is_file() or not _store().is_file():
        return None
    try:
        return Choice(**_read()[_key(model)])
    except (KeyError, TypeError, UserError):
        return None
