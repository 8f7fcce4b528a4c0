"""What INT8 costs and gains, network by network: trained on the embedded sample, exported in float and in INT8.

python bench/int8.py [PLACE] [--pattern 'mobilenet*'] [--seconds 600] [--threads 1]

Accuracy is of test photos: those of validation are INT8's gate. Times are of one picture of the network's size, both
files in turn in each engine. What is in bench/results/int8.json with the same versions is not done again; `--seconds`
stops after the network in which they are over. With PLACE, runs stay there, and one that was stopped goes on.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import record

import depthwise as dw
from depthwise.data.sources import sample_photos
from depthwise.deploy.engine import Choice, EngineName
from depthwise.deploy.measure import interleave
from depthwise.deploy.verify import noise
from depthwise.errors import UserError
from depthwise.workflows.exporting import ExportResult, export
from depthwise.workflows.opening import open_engine

RESULT = record.RESULTS / "int8.json"
TIMED_S = 4.0
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")
EPOCHS, BATCH_SIZE = 12, 32
# Each trains within two minutes on one core.
NETWORKS: dict[str, tuple[str, ...]] = {
    "mobilenet_v1_x0_25": (),
    "mobilenet_v2_x0_35": (),
    "mobilenet_v3_small": ("width=0.5",),
    "shufflenet_v2_x0_5": (),
    "efficientnet_b0": ("width=0.35", "depth=0.5"),
    "resnet20_cifar": (),
}
"""One of each family, and the options that make it small."""


def row(name: str, manifest: Path, place: Path, threads: int) -> dict[str, Any]:
    """Train one network, export it twice, and return what INT8 changes."""
    config = dw.TrainConfig(model=name, set=NETWORKS[name], epochs=EPOCHS, batch_size=BATCH_SIZE)
    started = time.monotonic()
    dw.train(manifest, place / name, config, threads=threads, resume="auto")
    train_s = time.monotonic() - started
    plain, small = (place / f"{name}.{kind}.onnx" for kind in ("float", "int8"))
    before = export(place / name, plain, fixed_size=True, overwrite=True)
    told = {"name": name, "options": list(NETWORKS[name]), "train_s": round(train_s)}
    told |= {"top1_float": top1(plain, manifest), "num_bytes_float": before.num_bytes}
    try:
        after = export(place / name, small, fixed_size=True, int8=True, overwrite=True)
    except UserError as error:  # the gate
        return told | {"refused": str(error)}
    return told | outcome(after, before) | {"top1": top1(small, manifest), "p50_ms": times(plain, small, threads)}


def outcome(after: ExportResult, before: ExportResult) -> dict[str, Any]:
    """Return size, and what the gate saw."""
    assert after.int8 is not None
    floats = after.int8["float_layers"]
    return {
        "image_size": open_engine(after.path).card.geometry.image_size,
        "num_bytes": after.num_bytes,
        "size_ratio": round(before.num_bytes / after.num_bytes, 2),
        "valid_loss": after.int8["loss"],
        "num_layers": after.int8["num_layers"],
        "num_float_layers": len(floats),
        "float_layers": floats,
    }


def top1(model: Path, manifest: Path) -> float:
    """Return the share of test photos that a file gets right."""
    share: float = dw.evaluate(model, manifest, split="test").scores.top1
    return round(share, 4)


def times(plain: Path, small: Path, threads: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of one picture by engine, in float and in INT8."""
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for engine in ENGINES:
        for kind, path in (("float", plain), ("int8", small)):
            opened = open_engine(path, Choice(engine, threads=threads))
            picture = noise(1, opened.card.geometry.image_size, opened.card.geometry.channels)
            calls[engine, kind] = partial(opened.logits, picture)
    found = interleave(calls, TIMED_S)
    return {e: {kind: round(found[e, kind].p50_ms, 3) for kind in ("float", "int8")} for e in ENGINES}


def main(place: Path, pattern: str, seconds: float, threads: int) -> None:
    """Go on where the last time ended; write after each network."""
    started, machine = time.monotonic(), record.machine()
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    settings: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "seed": 0, "threads": threads}
    settings |= {"versions": {name: version(name) for name in ENGINES}}
    is_alike = known.get("machine") == machine and settings.items() <= known.items()
    rows = {r["name"]: r for r in known["rows"]} if is_alike else {}
    with sample_photos() as photos:
        found = dw.split(photos, place / "splits.csv", overwrite=True)
        settings |= {"num_test": sum(r.split == "test" for r in found.records)}
        for name in NETWORKS:
            if name in rows or not fnmatch(name, pattern) or time.monotonic() - started > seconds:
                continue
            rows[name] = {**row(name, place / "splits.csv", place, threads), **record.stamp()}
            ordered = [rows[name] for name in NETWORKS if name in rows]
            record.write("int8", settings | {"rows": ordered})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", nargs="?", type=Path)
    parser.add_argument("--pattern", default="*")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        main(asked.place or Path(folder), asked.pattern, asked.seconds, asked.threads)
