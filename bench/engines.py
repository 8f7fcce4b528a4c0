"""What `depthwise bench` chooses, against bare ONNX Runtime and bare OpenVINO on the same file, interleaved.

python bench/engines.py [NETWORK...]     # two minutes each; the others stay as they were measured

Random weights (time does not depend on them), 224 px, float32 everywhere, all cores. `ours` is our engine as `bench`
found it fastest, for one picture and for many.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import record
import torch

from depthwise import artifact
from depthwise.data.geometry import Geometry
from depthwise.deploy.measure import interleave
from depthwise.deploy.openvino_engine import core as openvino_core
from depthwise.deploy.verify import noise
from depthwise.models.create import create_model
from depthwise.workflows.benching import bench
from depthwise.workflows.exporting import export
from depthwise.workflows.opening import open_engine

NETWORKS = ("mobilenet_v3_small", "efficientnet_lite0", "resnet18")
BATCHES = (1, 32)
ENGINES = ("onnxruntime", "openvino")
"""Not bfloat16: with random weights it would pass."""
SECONDS = 4.0
SECONDS_TO_CHOOSE = 20.0
"""As `depthwise bench` takes without a flag."""


def bare(path: Path, batch: int) -> dict[str, Callable[[], Any]]:
    """Return the two runtimes as their manuals show them, on this size of batch."""
    images = noise(batch, 224, 3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    core = openvino_core()  # a second one is a danger, see there
    model = core.read_model(path)
    model.reshape([batch, 224, 224, 3])
    request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    return {
        "onnxruntime": partial(session.run, ["logits"], {"images": images}),
        "openvino": partial(request.infer, {"images": images}),
    }


def rows(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return the times of one network for each batch."""
    torch.manual_seed(0)
    card = artifact.Card("model", name, {}, False, tuple("abcdefghij"), Geometry(224))
    artifact.write(folder / "m.safetensors", card, create_model(name, 10).state_dict())
    path = folder / f"{name}.onnx"
    export(folder / "m.safetensors", path, fixed_size=True)
    measured = bench(path, seconds=SECONDS_TO_CHOOSE)
    measured = replace(measured, rows=tuple(row for row in measured.rows if row.engine in ENGINES))
    found = []
    for batch in BATCHES:
        choice = measured.fastest["many" if batch > 1 else "single"].choice
        engine = open_engine(path, choice)
        times = interleave({"ours": partial(engine.logits, noise(batch, 224, 3)), **bare(path, batch)}, SECONDS)
        ms = {who: round(timing.p50_ms, 2) for who, timing in times.items()}
        ratio = min(ms["onnxruntime"], ms["openvino"]) / ms["ours"]
        row = {"network": name, "batch": batch, "p50_ms": ms, "best_bare_over_ours": round(ratio, 2)}
        found.append(row | {"chosen": asdict(choice)} | record.stamp())
    return found


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DEPTHWISE_CACHE"] = name  # what this finds is not for the user
        asked = sys.argv[1:] or NETWORKS
        found = [row for network in asked for row in rows(network, Path(name))]
    path = record.RESULTS / "engines.json"
    versions = {package: version(package) for package in ("onnxruntime", "openvino")}
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = known["rows"] if known.get("versions") == versions else []
    found = sorted([row for row in kept if row["network"] not in asked] + found, key=lambda row: row["network"])
    record.write("engines", {"versions": versions, "rows": found})


if __name__ == "__main__":
    main()
