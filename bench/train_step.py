"""A training step of every family: PyTorch as the tutorials and as experts use it, and ours; and the machine's limit.

    python bench/train_step.py           # the five networks with a target, 8 pictures: 2 minutes
    python bench/train_step.py --full    # one network or more of every family, 32 pictures: half an hour

Interleaved in one process: round after round, each way takes a step.
"""

import argparse
import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import record
import torch
from baselines import default_step, our_step, tuned_step
from roofline import Limits, limit_s, measure_limits

from depthwise.training.step import TrainingStep

TARGETS = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v1", "efficientnet_b0", "shufflenet_v2")
OTHERS = ("lenet5", "alexnet", "nin", "vgg11", "googlenet", "resnet18", "densenet121", "seresnet18", "shufflenet_v1")


def main(names: tuple[str, ...], batch_size: int, rounds: int, result: str) -> None:
    """Measure, print ratios, record."""
    limits = measure_limits()
    rows = []
    for name in names:
        rows.append(measure(name, batch_size, 32 if name == "lenet5" else 224, rounds, limits))
        gc.collect()
        tell(rows[-1])
    machine = {"threads": torch.get_num_threads(), "limits": limits._asdict()}
    record.write(result, {"batch_size": batch_size, "rounds": rounds, **machine, "rows": rows})


def measure(name: str, batch_size: int, image_size: int, rounds: int, limits: Limits) -> dict[str, Any]:
    """Return one network's times by each way, and the limit in our way's precision."""
    size = (name, batch_size, image_size)
    ours = our_step(*size)
    calls: dict[str, Callable[[], float]] = {
        "default": default_step(*size),
        "tuned": tuned_step(*size),
        "ours_torch": our_step(*size, kernels="torch"),
        "ours": ours,
    }
    times = interleave(calls, rounds)
    assert isinstance(ours, TrainingStep)
    ways = {
        way: {"median_s": round(median(found), 4), "spread_s": [round(min(found), 4), round(max(found), 4)]}
        for way, found in times.items()
    }
    limit = limit_s(*size, ours.method.precision, limits)
    method = ours.method.describe()
    return {"model": name, "image_size": image_size, "method": method, "ways": ways, "roofline": limit}


def interleave(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way's steps, of which the first, that compiles and warms up, does not count."""
    times: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(1 + rounds):
        for way, call in calls.items():
            started = time.perf_counter()
            call()
            times[way].append(time.perf_counter() - started)
    return {way: found[1:] for way, found in times.items()}


def tell(row: dict[str, Any]) -> None:
    """Print one network's ratios."""
    taken = {way: found["median_s"] for way, found in row["ways"].items()}
    ratios = ", ".join(f"{taken[way] / taken['ours']:.2f} x {way}" for way in ("tuned", "default"))
    share = row["roofline"]["limit_s"] / taken["ours"]
    print(
        f"{row['model']}: ours {taken['ours']:.3f} s ({row['method']}), {ratios}; {share:.0%} of the limit", flush=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("models", nargs="*")
    asked = parser.parse_args()
    if asked.full:
        main(tuple(asked.models) or (*TARGETS, *OTHERS), 32, 7, "train_step")
    else:
        main(tuple(asked.models) or TARGETS, 8, 3, "train_step_quick")
