"""Every network of the registry exported and compared with itself in PyTorch.

python bench/export_all.py [--pattern 'resnet*'] [--seconds 600]

Random weights (agreement does not depend on them), batch norm statistics measured on noise, the paper's size of
pictures, 10 classes. What is in bench/results/export_all.json with the same versions is not done again; `--seconds`
stops after the network in which they are over, so that it can go on another time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import record
import torch
from torch import nn

from depthwise import artifact
from depthwise.data.decode import Channels
from depthwise.data.geometry import Geometry
from depthwise.deploy.verify import noise
from depthwise.models.create import create_model
from depthwise.models.registry import ModelSpec, list_models, model_info
from depthwise.workflows.exporting import export

RESULT = record.RESULTS / "export_all.json"
NUM_CLASSES = 10


def measured_statistics(model: nn.Module, images: torch.Tensor) -> None:
    """Give every batch norm the statistics of these images, so that inner maps keep their scale."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    model.eval()


def row(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """Export one network and return what was found."""
    torch.manual_seed(0)
    num_classes = spec.num_classes if spec.name == "lenet5_1998" else NUM_CLASSES
    model = create_model(spec.name, num_classes=num_classes)
    pictures = noise(4, spec.image_size, spec.in_channels)
    channels: Channels = 1 if spec.in_channels == 1 else 3
    measured_statistics(model, torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1)
    classes = tuple(f"class {number}" for number in range(num_classes))
    card = artifact.Card("model", spec.name, {}, False, classes, Geometry(spec.image_size, channels))
    artifact.write(folder / "m.safetensors", card, model.state_dict())
    del model
    found = export(folder / "m.safetensors", folder / "m.onnx", fixed_size=True, overwrite=True)
    return {
        "name": spec.name,
        "image_size": spec.image_size,
        "top1_agreement": found.comparison.top1_agreement,
        "max_probability_difference": found.comparison.max_probability_difference,
        "num_bytes": found.num_bytes,
    }


def main() -> None:
    """Go on where the last time ended; write after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pattern", default="*")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    asked = parser.parse_args()
    started = time.monotonic()
    machine = record.machine()
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    rows = {r["name"]: r for r in known.get("rows", [])} if known.get("machine") == machine else {}
    wanted = sorted((model_info(name) for name in list_models(asked.pattern)), key=lambda spec: spec.macs)
    for spec in wanted:
        if spec.name in rows or time.monotonic() - started > asked.seconds:
            continue
        with tempfile.TemporaryDirectory() as name:
            rows[spec.name] = {**row(spec, Path(name)), **record.stamp()}
        record.write("export_all", {"num_networks": len(list_models()), "rows": list(rows.values())})


if __name__ == "__main__":
    main()
