"""What a training step must take at least here: its bytes at the memory's speed, its products at the peak."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import depthwise as dw

MEASURED_S = 1.0


class Limits(NamedTuple):
    """What the machine does when nothing else holds it up."""

    bytes_per_s: float
    """Read and written together, by copying 256 MiB."""
    macs_per_s: dict[str, float]
    """Multiply-adds of a product of 3072 x 3072 matrices, by precision."""


def measure_limits() -> Limits:
    """Measure memory and arithmetic with PyTorch's threads as they are."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / fastest(lambda: target.copy_(source))
    macs: dict[str, float] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.ones(3072, 3072, dtype=dtype) for _ in range(2))
        macs[name] = 3072**3 / fastest(lambda left=left, right=right: left @ right)  # type: ignore[misc]
    return Limits(copied, macs)


def fastest(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call within MEASURED_S, after one that warms up."""
    call()
    times: list[float] = []
    while sum(times) < MEASURED_S:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def limit_s(name: str, batch_size: int, image_size: int, precision: str, limits: Limits) -> dict[str, Any]:
    """Return the least seconds of a step, and how many bytes and multiply-adds they are.

    Layers with weights only; all between them is taken as done on the way, which no program does. Forward reads a
    layer's input and writes its output; backward reads the output's gradient and the input, and writes the input's
    gradient. Three products of the same size. A layer takes the longer of its bytes and its products. Weights are read
    twice, their gradients written; the optimiser reads gradient, momentum and weight and writes two of them: float32.
    """
    element = 2 if precision == "bf16" else 4
    step_s, moved, macs = 0.0, 0.0, 0.0
    for layer, num_in, num_out in _layers(name, image_size):
        weights = sum(p.numel() for p in layer.parameters())
        layer_bytes = batch_size * element * (3 * num_in + 2 * num_out) + weights * (2 * element + 4 + 5 * 4)
        layer_macs = 3 * batch_size * num_out * layer.weight[0].numel()  # type: ignore[index]
        step_s += max(layer_bytes / limits.bytes_per_s, layer_macs / limits.macs_per_s[precision])
        moved, macs = moved + layer_bytes, macs + layer_macs
    return {"limit_s": step_s, "bytes": moved, "macs": macs}


def _layers(name: str, image_size: int) -> list[tuple[nn.Module, int, int]]:
    """Return each layer with weights, and how many numbers it takes and gives for one picture."""
    found: list[tuple[nn.Module, int, int]] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((layer, inputs[0].numel(), output.numel()))

    with torch.device("meta"):
        model = dw.create_model(name).eval()
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(record)
        model(torch.empty(1, dw.model_info(name).in_channels, image_size, image_size))
    return found
