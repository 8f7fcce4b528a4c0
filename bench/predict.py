"""How fast an exported file answers: against PyTorch, and against ONNX Runtime on the bare network, interleaved.

python bench/predict.py

EfficientNet-Lite0 with its packaged weights, 224 px, one thread. `process` is from a command's start to its answer.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import record
import torch

import depthwise as dw
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.engine import OnnxEngine

ROUNDS = 15
PHOTO = Path(__file__).parents[1] / "tests" / "photos" / "coffee.jpg"
PEAK = """
import sys
from depthwise.cli import run
run(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def interleaved(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median milliseconds of each call, all called in turn; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def engines(folder: Path) -> tuple[EagerEngine, OnnxEngine, Any]:
    """Return the network in PyTorch, exported, and exported without resizing for bare ONNX Runtime."""
    model = folder / "lite0.safetensors"
    dw.import_model("efficientnet_lite0", "package", model)
    dw.export(model, folder / "lite0.onnx")
    dw.export(model, folder / "fixed.onnx", fixed_size=True)
    eager = dw.load(model, "cpu").engine
    assert isinstance(eager, EagerEngine)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(folder / "fixed.onnx", options, providers=["CPUExecutionProvider"])
    return eager, OnnxEngine(folder / "lite0.onnx", threads=1), bare


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    result: dict[str, Any] = {"rounds": ROUNDS, "network": "efficientnet_lite0"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        eager, exported, bare = engines(folder)
        for batch in (1, 32):
            images = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
            calls: dict[str, Callable[[], Any]] = {
                "pytorch": partial(eager.logits, images),
                "exported": partial(exported.logits, images),
                "bare": partial(bare.run, ["logits"], {"images": images}),
            }
            found = interleaved(calls)
            ratios = {
                f"{other}_over_exported": round(found[other] / found["exported"], 2) for other in ("pytorch", "bare")
            }
            result[f"batch_{batch}"] = {"median_ms": found} | ratios
        command = [sys.executable, "-m", "depthwise", "predict", str(folder / "lite0.onnx"), str(PHOTO)]
        run = {"process": lambda: subprocess.run(command, check=True, capture_output=True)}
        result["process_ms"] = interleaved(run)["process"]
        peak = subprocess.run([sys.executable, "-c", PEAK, *command[3:]], check=True, capture_output=True, text=True)
        result["process_mib"] = round(int(peak.stdout.split()[-1]) / 1024)
    record.write("predict", result)


if __name__ == "__main__":
    main()
