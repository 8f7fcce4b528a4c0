"""`depthwise demo`: the whole way on the pictures that ship with the package."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from depthwise.data.index import read_index
from depthwise.data.sources import sample_photos
from depthwise.errors import UserError

MARK = "made-by-depthwise-demo"
# One thread: so small a network gains little from more, and shares a busy machine badly.
TRAIN_FLAGS = ("--model", "mobilenet_v1_x0_25", "--epochs", "30", "--batch-size", "32", "--threads", "1")


class Step(NamedTuple):
    """One command of the demo."""

    title: str
    command: tuple[str, ...]  # what stands behind `depthwise`


def prepare(out: Path) -> int:
    """Make `out` with a copy of the sample in `out`/photos; return the number of pictures.

    A folder left by an earlier demo is replaced; any other is refused with UserError.
    """
    if out.exists():
        if not (out / MARK).exists():
            raise UserError(f"{out} exists and was not made by the demo; choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / MARK).write_text("The next `depthwise demo` replaces this folder.\n")
    with sample_photos() as sample:
        shutil.copytree(sample, out / "photos")
    return sum(1 for _ in (out / "photos").rglob("*.png"))


def steps(out: Path, seed: int) -> Iterator[Step]:
    """Yield the commands in their order; the last one needs what the earlier ones made."""
    photos, manifest, run = (str(out / name) for name in ("photos", "splits.csv", "run"))
    yield Step(
        "Deal the photos out to train, valid and test", ("split", photos, "--out", manifest, "--seed", str(seed))
    )
    yield Step("Train a small network", ("train", manifest, "--out", run, *TRAIN_FLAGS, "--seed", str(seed)))
    yield Step("Ask how good it is on photos that it has never seen", ("evaluate", run, "--split", "test"))
    test = read_index(Path(manifest)).part("test")
    photos_of_each = [next(r.path for r in test if r.label == name) for name in sorted({r.label for r in test})[:4]]
    yield Step("Ask it about some of those photos", ("predict", run, *map(os.path.relpath, photos_of_each)))
