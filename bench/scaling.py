"""How training's speed follows cores, pictures per step and their size; and what an epoch's order costs in a large set.

python bench/scaling.py           # a minute
python bench/scaling.py --full    # ten
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record
import torch
from baselines import our_step

from depthwise.data.index import read_index
from depthwise.data.order import epoch_order

MODEL = "mobilenet_v2"


def images_per_s(batch_size: int, image_size: int, rounds: int) -> float:
    """Return pictures per second by the median of `rounds` steps, after one that warms up."""
    step = our_step(MODEL, batch_size, image_size)
    times = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return round(batch_size / median(times[1:]), 1)


def steps(sizes: dict[str, list[int]], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each count of cores, batch size and size of pictures, the others as they usually are."""
    rows = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    usual = {"cores": cores, "batch_size": 32, "image_size": 224}
    for what, values in {"cores": sorted({1, cores // 2 or 1, cores}), **sizes}.items():
        for value in values:
            setting = usual | {what: value}
            torch.set_num_threads(setting["cores"])
            speed = images_per_s(setting["batch_size"], setting["image_size"], rounds)
            rows.append({"varied": what, **setting, "images_per_s": speed})
            print(rows[-1], flush=True)
    torch.set_num_threads(cores)
    return rows


def orders(counts: list[int]) -> list[dict[str, Any]]:
    """Return what reading a manifest of so many pictures takes, once, and the order of an epoch of them, in seconds."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "splits.csv")
            lines = (f"photos/{number % 100}/{number}.jpg,{number % 100},train\n" for number in range(count))
            path.write_text("path,class,split\n" + "".join(lines), encoding="utf-8")
            index_s = timed(lambda path=path: read_index(path))
        ids = np.arange(count, dtype=np.uint64)
        order_s = timed(lambda ids=ids: epoch_order(ids, 0, 1))
        rows.append({"num_images": count, "index_s": round(index_s, 3), "order_s": round(order_s, 4)})
        print(rows[-1], flush=True)
    return rows


def timed(call: Any) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    if parser.parse_args().full:
        sizes = {"batch_size": [4, 8, 16, 32, 64, 128], "image_size": [64, 96, 128, 160, 192, 224, 288]}
        found = {"steps": steps(sizes, 5), "orders": orders([1_000, 10_000, 100_000, 1_000_000])}
        record.write("scaling", {"model": MODEL, **found})
    else:
        found = {"steps": steps({"batch_size": [8], "image_size": [96]}, 2), "orders": orders([10_000, 1_000_000])}
        record.write("scaling_quick", {"model": MODEL, **found})
