"""MobileNetV3-small on the whole of Fashion-MNIST, 3 epochs: accuracy, time and memory, by the commands of the README.

    python bench/fashion_mnist.py [FOLDER]

Takes about a quarter of an hour on 2 cores. FOLDER keeps data and run; by default they are thrown away.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

FLAGS = ("--model", "mobilenet_v3_small", "--epochs", "3")


def main(folder: Path) -> None:
    """Get the data set, train, evaluate on the test pictures, record."""
    data, run = folder / "fm", folder / "run"
    steps = {
        "get": ["datasets", "get", "fashion-mnist", str(data)],
        "train": ["train", str(data), *FLAGS, "--out", str(run), "--overwrite"],
        "evaluate": ["evaluate", str(run), str(data), "--split", "test", "--json"],
    }
    wall_s, peak_mib, reply = {}, {}, ""
    for name, arguments in steps.items():
        if name == "get" and data.exists():
            continue
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "depthwise", *arguments], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        reply = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{name} failed")
        wall_s[name], peak_mib[name] = round(time.perf_counter() - started, 1), usage.ru_maxrss // 1024
    scores = json.loads(reply)
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timings = [line for line in map(json.loads, (run / "timings.jsonl").read_text().splitlines()) if "epoch" in line]
    record.write(
        "fashion_mnist",
        {
            "command": " ".join(("depthwise train data/fm", *FLAGS)),
            "test": {name: scores[name] for name in ("top1", "top5", "loss", "num_images")},
            "wall_s": wall_s,
            "peak_mib": peak_mib,
            "epochs": [
                {name: row[name] for name in ("epoch", "train_loss", "valid_loss", "valid_top1")}
                | {"images_per_s": timing["images_per_s"]}
                for row, timing in zip(history, timings, strict=True)
            ],
        },
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place))
