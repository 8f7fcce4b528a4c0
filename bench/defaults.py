"""What default augmentation does to pictures that nobody tuned it to: clothes, digits and solar cells, learnt briefly.

    python bench/defaults.py [PLACE] [--elpv DIR] [--seconds 600]

Each set is learnt with no changes, by `depthwise train` without flags, and with what is on by default in timm's train
script (1.0) and in Ultralytics' `classify` (8.3), as far as our flags have it. Clothes are the packaged sample, digits
scikit-learn's (pip install scikit-learn), cells those of pip's elpv-dataset; DIR is its folder with labels.csv. 30 % of
each set are for the test, dealt out by the seed; PLACE keeps pictures and runs, and one that was stopped goes on.
"""

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import record
from PIL import Image

import depthwise as dw
from depthwise.data.sources import sample_photos

RESULT = record.RESULTS / "defaults.json"
SEEDS, EPOCHS = (0, 1, 2), (3, 15)
WAYS: dict[str, dict[str, Any]] = {
    "none": {"augment": "none"},
    "depthwise": {},
    "timm": {"augment_warmup": 0, "scale_min": 0.08, "flip": True, "jitter": 0.4},
    "Ultralytics": {"augment_warmup": 0, "scale_min": 0.5, "flip": True, "policy": "randaugment", "erase": 0.4},
}
"""`TrainConfig`'s fields above the recipe's."""
SETTINGS: dict[str, dict[str, Any]] = {"clothes": {}, "digits": {}, "cells": {"image_size": 64}}


def clothes(folder: Path, elpv: Path) -> None:
    """Copy the packaged sample of Fashion-MNIST."""
    with sample_photos() as photos:
        shutil.copytree(photos, folder)


def digits(folder: Path, elpv: Path) -> None:
    """Write scikit-learn's 1,797 handwritten digits of 8 x 8 px."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (picture, label) in enumerate(zip(found.images, found.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 255 / 16).astype(np.uint8)).save(path)


def cells(folder: Path, elpv: Path) -> None:
    """Sort the solar cells into good and defective ones, defective from a probability of 1/2."""
    with (elpv / "labels.csv").open(newline="") as file:
        for row in csv.reader(file, delimiter=" ", skipinitialspace=True):
            name, probability, *_ = row
            path = folder / ("defective" if float(probability) >= 0.5 else "good") / Path(name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(elpv / name, path)


SETS = {"clothes": clothes, "digits": digits, "cells": cells}


def trial(photos: Path, place: Path, name: str, way: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train once and read the test pictures."""
    manifest = place / f"{name}-{seed}.csv"
    if not manifest.exists():
        dw.split(photos, manifest, dw.SplitConfig(seed=seed, test=0.3))
    out = place / f"{name}-{way}-{epochs}-{seed}"
    wishes = {"recipe": "scratch-small", "epochs": epochs, "seed": seed, **SETTINGS[name], **WAYS[way]}
    dw.train(manifest, out, wishes, resume="auto", threads=1)
    found = dw.evaluate(out, manifest, "test")
    hits, num_images = round(found.scores.top1 * found.scores.confusion.sum()), int(found.scores.confusion.sum())
    what = {"set": name, "way": way, "epochs": epochs, "seed": seed}
    return {**what, "hits": hits, "num_images": num_images, **record.stamp()}


def main(place: Path, elpv: Path | None, seconds: float) -> None:
    """Try what is not yet in the result, until the seconds are over."""
    started = time.perf_counter()
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    done = {(row["set"], row["way"], row["epochs"], row["seed"]) for row in rows}
    for seed, name, epochs, way in product(SEEDS, sets_at_hand(elpv), EPOCHS, WAYS):
        if (name, way, epochs, seed) in done or time.perf_counter() - started > seconds:
            continue
        photos = place / name
        if not photos.exists():
            SETS[name](photos, elpv or Path())
        rows.append(trial(photos, place, name, way, epochs, seed))
        print(rows[-1], flush=True)
        record.write("defaults", {"rows": rows})
    print(summary(rows))


def sets_at_hand(elpv: Path | None) -> list[str]:
    """Return the sets whose pictures can be had here, and say which cannot."""
    missing = {} if elpv else {"cells": "--elpv DIR"}
    missing |= {} if find_spec("sklearn") else {"digits": "pip install scikit-learn"}
    for name, remedy in missing.items():
        print(f"{name} are left out: {remedy}")
    return [name for name in SETS if name not in missing]


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return mean accuracy by set, epochs and way."""
    lines = []
    for name in SETS:
        for epochs in EPOCHS:
            shares = [
                mean(row["hits"] / row["num_images"] for row in found) if found else float("nan")
                for way in WAYS
                for found in [[r for r in rows if (r["set"], r["epochs"], r["way"]) == (name, epochs, way)]]
            ]
            lines.append(f"{name} {epochs} " + " ".join(f"{way} {s:.1%}" for way, s in zip(WAYS, shares, strict=True)))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, nargs="?")
    parser.add_argument("--elpv", type=Path, help="elpv_dataset/data of the package")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(asked.place or Path(temporary), asked.elpv, asked.seconds)
