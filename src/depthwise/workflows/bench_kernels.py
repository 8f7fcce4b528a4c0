"""`depthwise bench kernels`: what each place of a network takes in training, by PyTorch's kernels and by the fused."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.kernels.choice import choose, compare
from depthwise.machine import processor
from depthwise.models.create import create_model
from depthwise.models.registry import model_info
from depthwise.models.summary import check_image_size
from depthwise.training.compute import Precision, has_bfloat16
from depthwise.workflows.devices import set_threads


@dataclass(frozen=True)
class PlaceTimes:
    """One place: a kind of block at one size of its input. A network may have several of the same."""

    place: str
    torch_ms: float
    """Forward and backward of the block alone."""
    fused_ms: float
    used: str
    """What `--kernels auto` takes here: "torch" or "fused", as measured when it was first asked."""


@dataclass(frozen=True)
class KernelTimes:
    """What was measured, and on what."""

    model: str
    image_size: int
    num_images: int
    precision: Precision
    threads: int
    processor: str
    rows: tuple[PlaceTimes, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def bench_kernels(
    model: str,
    *,
    image_size: int | None = None,
    batch_size: int = 32,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    threads: int | None = None,
    console: Quiet | None = None,
) -> KernelTimes:
    """Measure every place of a registered network that has fused kernels, both ways by turns, on this CPU.

    auto: bfloat16 where the processor has it. Raises UserError for a wrong name, size or number.
    """
    if batch_size < 2:
        raise UserError(f"--batch-size {batch_size}: batch norm needs at least 2")
    if threads is not None:
        set_threads(threads)
    spec, console = model_info(model), console or Quiet()
    size = image_size or spec.image_size
    chosen: Precision = ("bf16" if has_bfloat16(torch.device("cpu")) else "fp32") if precision == "auto" else precision
    network = create_model(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    check_image_size(network, size, spec.in_channels)
    images = torch.randn(batch_size, spec.in_channels, size, size).contiguous(memory_format=torch.channels_last)
    console.say("Measuring; the first time on a machine, compiling the kernels takes a minute.")
    used = choose(network, images, precision=chosen)
    times = compare(network, images, precision=chosen)
    rows = tuple(
        PlaceTimes(place, round(1000 * found["torch"], 3), round(1000 * found["fused"], 3), used[place])
        for place, found in times.items()
    )
    return KernelTimes(spec.name, size, batch_size, chosen, torch.get_num_threads(), processor(), rows)
