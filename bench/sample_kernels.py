"""Whether fused kernels cost accuracy on the packaged sample: three seeds by each way. Goes on where it was stopped.

    python bench/sample_kernels.py FOLDER [--seconds 600]
    python bench/sample_kernels.py FOLDER --epochs 1 --trial    # nothing is recorded for the docs

Both ways of a seed have the same split (30 % for the test), weights, order and crops, in float32, and follow each
other. `--seconds` stops after the run in which they are over.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import record

import depthwise as dw
from depthwise.data.sources import sample_photos

MODEL = "mobilenet_v2_x0_35"
SEEDS = (0, 1, 2)
WAYS = ("torch", "fused")


def trial(folder: Path, seed: int, way: str, epochs: int, threads: int) -> dict[str, Any]:
    """Train once, or go on with it, and read the test pictures."""
    manifest, out = folder / f"{seed}.csv", folder / f"{seed}-{way}-{epochs}"
    if not manifest.exists():
        with sample_photos() as photos:
            dw.split(photos, manifest, dw.SplitConfig(seed=seed, test=0.3))
    wishes = {"recipe": "none", "model": MODEL, "epochs": epochs, "seed": seed, "precision": "fp32", "kernels": way}
    dw.train(manifest, out, wishes, resume="auto", threads=threads)
    confusion = dw.evaluate(out, manifest, "test").scores.confusion
    lines = [json.loads(line) for line in (out / "timings.jsonl").read_text().splitlines()]
    counts = {"hits": int(confusion.trace()), "num_images": int(confusion.sum())}
    return counts | {"seconds": round(sum(line.get("train_s", 0.0) for line in lines), 1)}


def main(folder: Path, epochs: int, threads: int, name: str, seconds: float) -> None:
    """Try what is not yet in FOLDER/NAME.json; record the whole after each run."""
    kept, started = folder / f"{name}.json", time.perf_counter()
    rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for seed, way in product(SEEDS, WAYS):
        setting = {"seed": seed, "way": way, "epochs": epochs, "threads": threads}
        if any(setting.items() <= row.items() for row in rows) or time.perf_counter() - started > seconds:
            continue
        rows.append(setting | trial(folder, seed, way, epochs, threads))
        print(rows[-1], flush=True)
        kept.write_text(json.dumps(rows))
        shared = {"epochs": epochs, "threads": threads}
        alike = [row for row in rows if shared.items() <= row.items()]
        record.write(name, {"model": MODEL, **shared, "seeds": list(SEEDS), "rows": alike}, is_quiet=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trial", action="store_true", help="keep the result apart from what the docs show")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    name = "sample_kernels_trial" if asked.trial else "sample_kernels"
    main(asked.folder, asked.epochs, asked.threads, name, asked.seconds)
