"""Which kernel computes which place of a network: PyTorch's or ours, by a short measurement, kept per machine."""

import copy
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from depthwise import files
from depthwise.errors import CannotWrite
from depthwise.kernels.modules import Fused
from depthwise.kernels.swap import fuse
from depthwise.machine import processor

BUDGET_S = 10.0
"""No measurement begins later; places that are left over are fused."""
MOST_IMAGES = 16
MARGIN = 0.9
"""PyTorch computes a place when it takes less than this share of the fused time: what it writes more slows down the
rest of a step, too."""
ROUNDS = 3
"""The first warms up, and compiles where that was not done yet."""
PACKAGES = ("torch", "numba", "llvmlite")


class Place(NamedTuple):
    """A block of a network, and what goes into it."""

    block: Fused
    shape: torch.Size
    dtype: torch.dtype


def choose(model: nn.Module, images: Tensor, *, precision: str) -> dict[str, str]:
    """Return "fused" or "torch" for each place of the network at these images (B, C, H, W), for `swap.fuse`.

    Forward and backward of a place alone, on random numbers, both ways by turns; `faster` of the two best times.
    Blocks inside of a block come first: a block of fused kernels is held against the best that its parts can do. What
    was measured on this machine before, with as many threads and the same versions, is not measured again, where the
    cache folder can be written. The network is not changed, nor is torch's random state. Compiling kernels for the
    first time takes longer than this.
    """
    kept = _read()
    chosen: dict[str, str] = {}
    spent_s = 0.0
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for key, place in reversed(_places(model, images[:MOST_IMAGES]).items()):
            if key in kept:
                chosen[key] = kept[key]
            elif spent_s < BUDGET_S:
                times = _measure(key, place, chosen)
                spent_s += ROUNDS * sum(times.values())  # compiling for the first time does not count
                chosen[key] = kept[key] = faster(times)
            else:
                chosen[key] = "fused"
    _write(kept)
    return chosen


def compare(model: nn.Module, images: Tensor, *, precision: str) -> dict[str, dict[str, float]]:
    """Return the seconds of "torch" and of "fused" for each place, as `choose` would measure them; keep nothing.

    Blocks inside of a block are computed in their faster way.
    """
    found: dict[str, dict[str, float]] = {}
    chosen: dict[str, str] = {}
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for key, place in reversed(_places(model, images[:MOST_IMAGES]).items()):
            found[key] = _measure(key, place, chosen)
            chosen[key] = faster(found[key])
    return dict(reversed(found.items()))


def faster(times: Mapping[str, float]) -> str:
    """Return who computes a place that takes these seconds by "torch" and by "fused"."""
    return "torch" if times["torch"] < MARGIN * times["fused"] else "fused"


def _places(model: nn.Module, images: Tensor) -> dict[str, Place]:
    """Return places by key, those in which others are before them."""
    fused = fuse(copy.deepcopy(model)).train()
    found: dict[str, Place] = {}
    num_before = -1
    while len(found) > num_before:  # what is inside of a block shows when the block is left to PyTorch
        num_before = len(found)
        for key, place in _seen(fused, images):
            found.setdefault(key, place)
        fuse(fused, dict.fromkeys(found, "torch"))
    return found


def _seen(fused: nn.Module, images: Tensor) -> list[tuple[str, Place]]:
    """Return the places that a forward comes by."""
    seen: list[tuple[str, Place]] = []

    def note(block: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        if isinstance(block, Fused) and isinstance(x, Tensor) and block.is_fused(x):
            seen.append((block.place(x), Place(block, x.shape, x.dtype)))

    hooks = [module.register_forward_pre_hook(note) for module in fused.modules()]
    with torch.no_grad():
        fused(images)
    for hook in hooks:
        hook.remove()
    torch.clear_autocast_cache()  # else casts that were made here, without a graph, would serve passes that need one
    return seen


def _measure(key: str, place: Place, chosen: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds of a place by each way."""
    x = torch.randn(place.shape, dtype=place.dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    best: dict[str, float] = {}
    for turn in range(ROUNDS):
        for way in ("torch", "fused"):
            fuse(place.block, {**chosen, key: way})
            seconds = _time(place.block, x)
            if turn > 0:
                best[way] = min(seconds, best.get(way, seconds))
    return best


def _time(block: nn.Module, x: Tensor) -> float:
    """Return the seconds of forward and backward."""
    started = time.perf_counter()
    y = block(x)
    with torch.autocast("cpu", enabled=False):
        y.backward(y.detach())
    seconds = time.perf_counter() - started
    x.grad = None
    block.zero_grad(set_to_none=True)
    return seconds


def _machine() -> str:
    """Return what times depend on."""
    capability, num_threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    parts = (processor(), capability, f"{num_threads} threads", f"kernels {_sources()}")
    return ", ".join((*parts, *(f"{name} {version(name)}" for name in PACKAGES)))


@cache
def _sources() -> str:
    return files.digest_of_code(Path(__file__).parent)[:8]


def _store() -> Path:
    return files.cache_folder() / "kernels.json"


def _read() -> dict[str, str]:
    """Return the ways that this machine chose before."""
    ways = files.read_kept(_store()).get(_machine())
    return {key: way for key, way in ways.items() if way in ("fused", "torch")} if isinstance(ways, dict) else {}


def _write(ways: Mapping[str, str]) -> None:
    with suppress(CannotWrite):
        files.keep(_store(), {_machine(): {**_read(), **ways}})
