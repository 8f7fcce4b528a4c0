"""The committed measurements that docs are made from."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def result(name: str) -> Any:
    """Return a committed measurement."""
    return json.loads((ROOT / "bench/results" / f"{name}.json").read_text(encoding="utf-8"))


def witness(found: Any) -> str:
    """Say on which machine, when and with what a measurement was taken."""
    machine = found["machine"]
    return (
        f"{machine['cores']} cores of {machine['processor']}, Python {machine['python']}, torch {machine['torch']}, "
        f"{found['date']}"
    )


def newest(name: str) -> Any:
    """Return the measurement of the full tier, else of the quick one, else None."""
    folder = ROOT / "bench/results"
    return next((result(tier) for tier in (name, f"{name}_quick") if (folder / f"{tier}.json").exists()), None)
