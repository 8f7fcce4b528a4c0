"""Whether memory laid out channels last is ever slower: PyTorch's own step in both layouts and precisions.

python bench/layout.py [MODEL...]     # one network of every family, 16 pictures of 224 px: 5 minutes
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import record
import torch
from torch.nn import functional

import depthwise as dw

MODELS = (
    *("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v1", "efficientnet_b0", "shufflenet_v1", "shufflenet_v2"),
    *("alexnet", "nin", "vgg11", "googlenet", "resnet18", "densenet121", "seresnet18"),
)
BATCH, ROUNDS = 16, 3
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def build(name: str, layout: torch.memory_format, precision: str) -> Callable[[], None]:
    """Return a training step of the network."""
    model = dw.create_model(name).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(BATCH, 3, 224, 224).contiguous(memory_format=layout)
    labels = torch.arange(BATCH)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def measure(name: str) -> dict[str, Any]:
    """Return the fastest of ROUNDS interleaved steps each way, in seconds."""
    ways = [(layout, precision) for precision in ("fp32", "bf16") for layout in LAYOUTS]
    steps = {way: build(name, LAYOUTS[way[0]], way[1]) for way in ways}
    times: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(1 + ROUNDS):
        for way, step in steps.items():
            started = time.perf_counter()
            step()
            times[way].append(time.perf_counter() - started)
    return {"model": name} | {
        f"{precision}_{layout}": round(min(times[layout, precision][1:]), 4) for layout, precision in ways
    }


if __name__ == "__main__":
    rows = []
    for model in sys.argv[1:] or MODELS:
        rows.append(measure(model))
        print(rows[-1], flush=True)
    record.write("layout", {"batch_size": BATCH, "rounds": ROUNDS, "rows": rows})
