"""Where a measurement's result goes: JSON under bench/results, with the machine that it was taken on."""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Return what is needed to read the numbers: processor, cores, memory, versions."""
    info = {"system": platform.platform(terse=True), "python": platform.python_version(), "cores": os.cpu_count()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        info["processor"] = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return info | {name: version(name) for name in ("torch", "numpy", "pillow")}


def stamp() -> dict[str, Any]:
    """Return day and machine, for a row that stays when others are measured later."""
    return {"date": time.strftime("%Y-%m-%d"), "machine": machine()}


def write(name: str, result: dict[str, Any], *, is_quiet: bool = False) -> None:
    """Write bench/results/NAME.json and, unless `is_quiet`, print it."""
    RESULTS.mkdir(exist_ok=True)
    whole = stamp() | result
    text = json.dumps(whole, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    if not is_quiet:
        print(text)
