"""From a folder of JPEGs to a CSV of answers: our file against timm's and Ultralytics' ways, in one run, by turns.

python bench/predict_folder.py speed --timm PYTHON --ultralytics PYTHON     # interpreters that have them
python bench/predict_folder.py memory                                       # 1,000 against 10,000 photos

Photos: crops of two photos in tests/photos, 500 x 375 px, quality 90. Ours and timm's is MobileNetV2 (300 million
multiply-adds at 224 px), Ultralytics' yolov8n-cls (about 270 million), our second MobileNetV3-large (217 million).
Random weights. Times are of whole processes, from start to CSV; `loop` is a peer's without its start, beside our whole
process. `prepare` and `--place DIR` make photos and models before, so that the machine is needed for the timing only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from PIL import Image

import depthwise as dw
from depthwise.artifact import Card, write
from depthwise.data.geometry import Geometry

ROOT = Path(__file__).parents[1]
ROUNDS = 3
SIZE = (500, 375)


def make_photos(folder: Path, number: int, size: tuple[int, int] = SIZE) -> None:
    """Write so many different JPEGs, unless they are there."""
    if folder.exists():
        return
    folder.mkdir()
    sources = [Image.open(path).convert("RGB") for path in sorted((ROOT / "tests/photos").glob("*.jpg"))]
    generator = np.random.default_rng(0)
    for place in range(number):
        image = sources[place % len(sources)]
        width = generator.uniform(0.6, 1) * min(image.width, image.height * 4 / 3)
        height = width * 3 / 4
        left, top = generator.uniform(0, image.width - width), generator.uniform(0, image.height - height)
        crop = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        crop.save(folder / f"{place:05d}.jpg", quality=90)


def make_model(folder: Path, name: str = "mobilenet_v2", side: int = 224) -> Path:
    """Export a network with random weights, unless that was done."""
    model = folder / f"{name}.onnx"
    if model.exists():
        return model
    torch.manual_seed(0)
    classes = tuple(f"class {number}" for number in range(1000))
    card = Card("model", name, {}, False, classes, Geometry(side))
    write(folder / "model.safetensors", card, dw.create_model(name, 1000).state_dict())
    dw.export(folder / "model.safetensors", model)
    (folder / "model.safetensors").unlink()
    return model


def timed(command: list[str], lines: Path | None = None) -> tuple[float, int, str]:
    """Return seconds, peak MiB and standard output of a process that reads `lines`.

    The peak is asked for until the process ends: what the system tells afterwards counts the parent's memory in.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    peak = 0
    with open(lines or os.devnull, "rb") as source:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdin=source, stdout=subprocess.PIPE, text=True)
        while process.poll() is None:
            with suppress(OSError, StopIteration):
                status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1])
            time.sleep(0.02)
        took = time.perf_counter() - started
    if process.returncode or process.stdout is None:
        raise SystemExit(f"{command[0]} failed")
    return took, peak // 1024, process.stdout.read()


def ours(model: Path, photos: str, out: Path) -> list[str]:
    """Return our command."""
    return [sys.executable, "-m", "depthwise", "predict", str(model), photos, "--out", str(out), "--overwrite"]


def speed(folder: Path, number: int, peers: dict[str, str]) -> dict[str, Any]:
    """Time ours and the peers by turns."""
    make_photos(folder / "photos", number)
    out = folder / "answers.csv"
    networks = {"depthwise": "mobilenet_v2", "depthwise_v3": "mobilenet_v3_large"}
    commands = {way: ours(make_model(folder, name), str(folder / "photos"), out) for way, name in networks.items()}
    for name, python in peers.items():
        script = ROOT / "bench/peers" / f"predict_{name}.py"
        commands[name] = [python, str(script), str(folder / "photos"), str(out)]
    times: dict[str, list[float]] = {name: [] for name in commands}
    loops: dict[str, list[float]] = {name: [] for name in peers}
    versions = {}
    for turn in range(ROUNDS):
        for name, command in commands.items():
            out.unlink(missing_ok=True)
            seconds, _, said = timed(command)
            times[name].append(round(seconds, 2))
            assert len(out.read_text().splitlines()) == number + 1, name
            if name in peers:
                loop, versions[name] = said.splitlines()[-1].split(maxsplit=1)
                loops[name].append(round(float(loop), 2))
        print(turn, times, file=sys.stderr)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {
        "num_photos": number,
        "versions": versions,
        "wall_s": times,
        "loop_s": loops,
        "images_per_s": {name: round(number / seconds, 1) for name, seconds in middle.items()},
        "times_ours": {name: round(middle[name] / middle["depthwise"], 2) for name in peers},
        "times_ours_loop": {
            name: round(statistics.median(values) / middle["depthwise"], 2) for name, values in loops.items()
        },
        "times_v3": {name: round(middle[name] / middle["depthwise_v3"], 2) for name in peers},
    }


def memory(folder: Path) -> dict[str, Any]:
    """Peak memory by number of photos, of a quick network; 10,000 are 1,000 ten times over."""
    make_photos(folder / "photos", 1000, (80, 60))
    names = sorted((folder / "photos").iterdir())
    (folder / "many").mkdir()
    for copy in range(10):
        for path in names:
            os.link(path, folder / "many" / f"{copy}{path.name}")
    model, out = make_model(folder, "mobilenet_v1_x0_25", 64), folder / "answers.csv"
    listed = folder / "listed.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted((folder / "many").iterdir())))
    found = {
        "folder of 1,000": timed(ours(model, str(folder / "photos"), out))[1],
        "folder of 10,000": timed(ours(model, str(folder / "many"), out))[1],
        "10,000 on standard input": timed(ours(model, "-", out), listed)[1],
    }
    assert len(out.read_text().splitlines()) == 10_001
    return {"peak_mib": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("prepare", "speed", "memory"))
    parser.add_argument("--timm")
    parser.add_argument("--ultralytics")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    chosen = {name: getattr(given, name) for name in ("timm", "ultralytics") if getattr(given, name)}
    with tempfile.TemporaryDirectory() as temporary:
        place = given.place or Path(temporary)
        if given.what == "prepare":
            make_photos(place / "photos", given.photos)
            make_model(place)
            make_model(place, "mobilenet_v3_large")
        elif given.what == "speed":
            record.write("predict_folder", speed(place, given.photos, chosen))
        else:
            record.write("predict_memory", memory(Path(temporary)))
