"""How well and how fast `depthwise demo` does: three seeds, each split, trained and tested anew.

python bench/demo.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

SEEDS = (0, 1, 2)


def call(*arguments: str, cache: str | None = None) -> bytes:
    """Run a command of depthwise, with nothing decoded or measured before in `cache`; return what it printed."""
    place = {**os.environ, **({"DEPTHWISE_CACHE": cache} if cache else {})}
    return subprocess.run(
        [sys.executable, "-m", "depthwise", *arguments], check=True, capture_output=True, env=place
    ).stdout


def main() -> None:
    """Run the demo for each seed and record test accuracy and wall time."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            out = str(Path(folder, str(seed)))
            started = time.perf_counter()
            call("demo", "--out", out, "--seed", str(seed), cache=f"{out}-cache")
            wall_s = time.perf_counter() - started
            reply = json.loads(call("evaluate", str(Path(out, "run")), "--split", "test", "--json"))
            counts = {name: reply[name] for name in ("top1", "top5", "loss", "num_images")}
            runs.append({"seed": seed, **counts, "wall_s": round(wall_s, 1)})
    top1 = [run["top1"] for run in runs]
    record.write(
        "demo",
        {
            "command": "depthwise demo --seed SEED",
            "mean_top1": round(statistics.mean(top1), 4),
            "stdev_top1": round(statistics.stdev(top1), 4),
            "median_wall_s": statistics.median(run["wall_s"] for run in runs),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
