"""The generated parts on training without a flag: bench/defaults.py for docs/input.md, bench/first_model.py."""

from collections.abc import Callable
from typing import Any

from measured import newest, witness

WAYS = {
    "none": "no changes",
    "depthwise": "depthwise",
    "timm": "timm's defaults",
    "Ultralytics": "Ultralytics' defaults",
}
TITLES = {
    "clothes": "clothes, 28 px (Fashion-MNIST's sample)",
    "digits": "handwritten digits, 8 px (scikit-learn)",
    "cells": "solar cells, 64 px (elpv), good or defective",
}


def defaults() -> str:
    """Return test accuracy by pictures, epochs and way, of each seed."""
    found = newest("defaults")
    if found is None:
        return "No result is committed yet."
    lengths = sorted({row["epochs"] for row in found["rows"]})
    lines = [
        "| pictures | epochs | " + " | ".join(WAYS.values()) + " |",
        "|---|---:|" + "---:|" * len(WAYS),
        *(
            f"| {title} | {epochs} | {_cells(found, name, epochs)} |"
            for name, title in TITLES.items()
            for epochs in lengths
        ),
    ]
    end = (
        "Test top-1, one number for each seed that was run; each deals the pictures out anew, 30 % for the test. "
        "The recipe `scratch-small` with its network. timm's: `--scale-min 0.08 --flip --jitter 0.4`; Ultralytics': "
        "`--scale-min 0.5 --flip --policy randaugment --erase 0.4`, both on all pictures from the start. "
        f"`bench/defaults.py`. {witness(found)}."
    )
    return "\n".join([*lines, "", end])


def _cells(found: Any, name: str, epochs: int) -> str:
    cells = []
    for way in WAYS:
        rows = [row for row in found["rows"] if (row["set"], row["epochs"], row["way"]) == (name, epochs, way)]
        cells.append(", ".join(f"{row['hits'] / row['num_images']:.1%}" for row in rows) or "not run")
    return " | ".join(cells)


def first_model() -> str:
    """Return one sentence on how long training without a flag takes."""
    found = newest("first_model")
    if found is None:
        return "No result is committed yet."
    return (
        f"From {found['photos']:,} photos of 300 px in {found['classes']} classes to a model with its report it takes "
        f"{found['seconds'] / 60:.1f} minutes, by the recipe `{found['recipe']}` that is chosen without a flag (time "
        "only: these photos were dealt out to the classes by their number). "
        f"`bench/first_model.py`, {witness(found)}."
    )


PARTS: dict[str, Callable[[], str]] = {"defaults": defaults, "first_model": first_model}
