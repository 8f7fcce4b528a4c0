"""How well and how fast `depthwise demo` does: three seeds, each split, trained and tested anew.

python bench/demo.py
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

SEEDS = (0, 1, 2)


def main() -> None:
    """Run the demo for each seed and record test accuracy and wall time."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            out = str(Path(folder, str(seed)))
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "depthwise", "demo", "--out", out, "--seed", str(seed)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            wall_s = time.perf_counter() - started
            command = [
                sys.executable,
                "-m",
                "depthwise",
                "evaluate",
                str(Path(out, "run")),
                "--split",
                "test",
                "--json",
            ]
            reply = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
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
