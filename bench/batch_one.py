"""Where the time of one photo goes, against PyTorch and against what the processor can do in float32.

python bench/batch_one.py

EfficientNet-Lite0 with its packaged weights, 224 px, one thread, one JPEG. Time is the process's own (CPU time, all its
threads), so that other work on the machine shows little; medians of interleaved calls. The INT8 file is calibrated on
noise: its time is that of any other, its answers are not looked at.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import record
import torch

import depthwise as dw
from depthwise.data.decode import decode
from depthwise.data.geometry import apply
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.engine import Choice, EngineName
from depthwise.deploy.export import trace_network
from depthwise.deploy.quantize import CHUNK, Quantizer
from depthwise.deploy.verify import noise
from depthwise.workflows.exporting import packer
from depthwise.workflows.opening import open_engine

NETWORK, SIDE, ROUNDS, WARM_UP = "efficientnet_lite0", 224, 25, 3
PRODUCT = 1024
PHOTO = Path(__file__).parents[1] / "tests" / "photos" / "coffee.jpg"
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino", "openvino-bf16")
Calls = dict[str, Callable[[], Any]]


def cpu_ms(calls: Calls) -> dict[str, float]:
    """Return the median milliseconds of CPU time of each call, called in turn; the first rounds only warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + WARM_UP):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if number >= WARM_UP:
                times[name].append(1000 * (time.process_time() - started))
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def session_with(path: Path, **options: Any) -> Any:
    """Return a bare session of ONNX Runtime with one thread and other options than its own."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = 1
    chosen.log_severity_level = 3
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])


def session_options(path: Path, picture: Any) -> Calls:
    """Return ONNX Runtime's call by what is changed in its options; as they come, nothing."""
    levels = onnxruntime.GraphOptimizationLevel
    changes: dict[str, dict[str, Any]] = {
        "as they come": {},
        "no memory arena": {"enable_cpu_mem_arena": False},
        "no memory pattern": {"enable_mem_pattern": False},
        "operators in parallel": {"execution_mode": onnxruntime.ExecutionMode.ORT_PARALLEL},
        "no blocked layout (extended)": {"graph_optimization_level": levels.ORT_ENABLE_EXTENDED},
    }
    return {
        name: partial(session_with(path, **more).run, ["logits"], {"images": picture}) for name, more in changes.items()
    }


def exported(folder: Path) -> tuple[EagerEngine, Path, Path]:
    """Return the network in PyTorch, and exported in float and in INT8."""
    model, plain, small = (folder / name for name in ("m.safetensors", "float.onnx", "int8.onnx"))
    dw.import_model(NETWORK, "package", model)
    dw.export(model, plain, fixed_size=True)
    eager = dw.load(model, "cpu").engine
    assert isinstance(eager, EagerEngine)
    with Quantizer(trace_network(eager.model, eager.card), noise(2 * CHUNK, SIDE, 3)) as quantizer:
        small.write_bytes(packer(eager, ".onnx", quantizer.without(()), fixed_size=True)({})[".onnx"])
    return eager, plain, small


def steps(plain: Path) -> Calls:
    """Return the steps of one answer, and the whole."""
    classifier = dw.load(plain, choice=Choice(threads=1))
    geometry = classifier.engine.card.geometry
    pixels, seen = decode(PHOTO), classifier.read(PHOTO)
    return {
        "decode": partial(decode, PHOTO),
        "resize": partial(apply, pixels, geometry),
        "network": partial(classifier.engine.logits, seen.single[None]),
        "whole": partial(classifier.predict, PHOTO),
    }


def peak_macs_per_s() -> float:
    """Return multiply-adds a second of a product of two float32 matrices, the fastest of many."""
    matrix, times = torch.ones(PRODUCT, PRODUCT), []
    for _ in range(ROUNDS):
        started = time.process_time()
        torch.mm(matrix, matrix)
        times.append(time.process_time() - started)
    return float(PRODUCT**3 / min(times))


@torch.inference_mode()
def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        eager, plain, small = exported(Path(name))
        picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
        engines: Calls = {"pytorch": partial(eager.logits, picture)}
        for kind, path in (("float", plain), ("int8", small)):
            for engine in ENGINES if kind == "float" else ENGINES[:2]:
                opened = open_engine(path, Choice(engine, threads=1))
                engines[f"{engine} {kind}"] = partial(opened.logits, picture)
        result = {
            "network": NETWORK,
            "versions": {package: version(package) for package in ("onnxruntime", "openvino")},
            "macs": dw.model_info(NETWORK).macs,
            "peak_macs_per_s": round(peak_macs_per_s()),
            "engines_ms": cpu_ms(engines),
            "options_ms": cpu_ms(session_options(plain, picture)),
            "steps_ms": cpu_ms(steps(plain)),
        }
    record.write("batch_one", result)


if __name__ == "__main__":
    main()
