"""How a new run's steps are to be computed: asked for, by rule, or by a short measurement that is kept."""

import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from depthwise import files
from depthwise import kernels as kernels_package
from depthwise.console import Quiet
from depthwise.errors import CannotWrite, UserError
from depthwise.machine import num_processors, processor
from depthwise.models.create import create_model
from depthwise.models.registry import model_info
from depthwise.models.summary import summary
from depthwise.training.compute import Kernels, Method, Precision, has_bfloat16
from depthwise.training.memory import give_back_free_memory, keep_freed_memory
from depthwise.training.step import Task, TrainingStep, build_step

WORTH_S = 300.0
"""Runs that the machine of `nominal_s` is done with sooner take the plainest method, unmeasured."""
MARGIN = 1.1
"""A method must be so much faster than a plainer one to be taken: what does not matter shall not change by chance."""
MOST_IMAGES = 32
"""Pictures in a measured step, at most: more take longer, and as much memory as the run itself might not need."""
ROUNDS = 3
Way = tuple[Precision, Kernels]
PACKAGES = ("depthwise", "torch", "numba", "numpy")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asks of a run's method."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    kernels: Literal["auto", "torch", "fused"] = "auto"
    compile: bool = False


@dataclass(frozen=True)
class Choice:
    """A method, and how it came about."""

    method: Method
    times_s: Mapping[str, float]
    """Seconds of a step by each method that was measured, now or on an earlier day; empty: chosen by rule."""


def nominal_s(task: Task, num_images: int) -> float:
    """Return about how long 2 cores of 2024 train on so many pictures in float32: a count, not a measurement.

    Forward and backward take three times the forward's multiply-adds, of which such a machine does 100e9 in a second,
    and move the layers' outputs three times, 1e9 numbers in a second (bench/train_step.py has measured times).
    Infinity for networks from elsewhere that cannot be counted.
    """
    with torch.device("meta"):
        model = create_model(task.model, task.num_classes, task.in_channels, task.small_input, **task.options)
    try:
        rows = summary(model, task.image_size, task.in_channels)
    except (NotImplementedError, RuntimeError, TypeError):
        return math.inf  # somebody's own network that does not run without numbers
    macs, outputs = sum(row.macs for row in rows), sum(math.prod(row.output_shape) for row in rows)
    return 3 * num_images * (macs / 100e9 + outputs / 1e9)


def choose(task: Task, wish: Wish, num_images: int | None = None, console: Quiet | None = None) -> Choice:
    """Return how to compute a run of `num_images` pictures, all epochs together; None: many.

    What is asked for is done. On a GPU: bfloat16 where it has it. On a CPU where a choice is left: by rule the plainest
    for a short run; else the fastest of those that this machine measures, kept in the user's cache folder. Raises
    UserError for what cannot be done here.
    """
    console, device = console or Quiet(), torch.device(task.device)
    _check(wish, device, console)
    ways = _ways(wish, device)
    if len(ways) == 1 or (num_images is not None and nominal_s(task, num_images) < WORTH_S):
        return Choice(_method(task, ways[0], wish), {})
    task = replace(task, batch_size=min(task.batch_size, MOST_IMAGES))
    path, key = files.cache_folder() / "methods.json", _key(task, wish)
    kept = files.read_kept(path)
    try:
        return Choice(Method.from_json(kept[key]["method"]), kept[key]["times_s"])
    except (KeyError, TypeError):
        choice = _measure(task, ways, wish, console)
        give_back_free_memory()
    try:
        files.keep(path, {key: {"method": choice.method.to_json(), "times_s": dict(choice.times_s)}})
    except CannotWrite as error:
        console.warn(f"{error}; what was measured now is measured again for the next run")
    return choice


def check_can(method: Method, device: torch.device) -> None:
    """Raise UserError when a run's method cannot be gone on with here."""
    if method.precision == "bf16" and not has_bfloat16(device):
        raise UserError(f"it computes in bfloat16, which this machine's {device.type} has no instructions for")


def _check(wish: Wish, device: torch.device, console: Quiet) -> None:
    if wish.kernels == "fused" and device.type != "cpu":
        raise UserError(f"--kernels fused: these kernels are for CPUs, and the run is on {device.type}")
    compiler = os.environ.get("CXX") or ("cl" if os.name == "nt" else "c++")
    if wish.compile and device.type == "cpu" and not shutil.which(compiler):
        raise UserError(
            f"--compile needs a C++ compiler on the CPU, and there is no {compiler} here (CXX names another)"
        )
    warn_of_precision(wish, device, console)


def warn_of_precision(wish: Wish, device: torch.device, console: Quiet) -> None:
    """Warn of a precision that was asked for by name and is imitated here."""
    if wish.precision == "bf16" and not has_bfloat16(device):
        console.warn(f"--precision bf16: this {device.type} has no bfloat16 instructions; float32 will be faster")


def _ways(wish: Wish, device: torch.device) -> list[Way]:
    """Return precisions and kernels that come into question, the plainest first."""
    precisions: list[Precision] = ["fp32", "bf16"] if wish.precision == "auto" else [wish.precision]
    kernels: list[Kernels] = ["torch", "fused"] if wish.kernels == "auto" else [wish.kernels]
    if wish.precision == "auto" and not has_bfloat16(device):
        precisions = ["fp32"]
    elif wish.precision == "auto" and device.type == "cuda":
        precisions = ["bf16"]
    if device.type == "cuda" or wish.compile:
        kernels = ["torch"]
    return [(precision, kernel) for kernel in kernels for precision in precisions]


def _method(task: Task, way: Way, wish: Wish) -> Method:
    """Return the method; with fused kernels for `auto`, those of each place's that are faster there."""
    precision, kernels = way
    places = _places(task, precision) if kernels == "fused" and wish.kernels == "auto" else {}
    return Method(precision, kernels, places, wish.compile)


def _places(task: Task, precision: Precision) -> dict[str, str]:
    from depthwise.kernels.choice import choose as choose_kernels

    step = build_step(task, Method(precision))
    images = step.loop.normalise(torch.from_numpy(step.batch.images))
    return choose_kernels(step.loop.state.model, images, precision=precision)


def _measure(task: Task, ways: Sequence[Way], wish: Wish, console: Quiet) -> Choice:
    """Return the fastest; one after the other, so that no more memory is taken than by one."""
    found: list[tuple[Method, float]] = []
    for way in console.track(ways, len(ways), "Measuring how to compute, once for this machine"):
        method = _method(task, way, wish)
        found.append((method, _time(build_step(task, method))))
    best, best_s = found[0]
    for method, step_s in found[1:]:
        if step_s * MARGIN < best_s:
            best, best_s = method, step_s
    return Choice(best, {method.describe(): round(step_s, 4) for method, step_s in found})


def _time(step: TrainingStep) -> float:
    """Return the seconds of the fastest of ROUNDS steps, after one that compiles and warms up."""
    times = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _key(task: Task, wish: Wish) -> str:
    """Return everything that the choice depends on."""
    values = {
        "task": asdict(task),
        "wish": asdict(wish),
        "threads": torch.get_num_threads(),
        "processor": f"{num_processors()} x {processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: version(name) for name in PACKAGES},
        "kernels": files.digest_of_code(Path(kernels_package.__file__).parent),
    }
    return json.dumps(values, sort_keys=True, default=str)


def make_step(
    name: str,
    *,
    batch_size: int,
    image_size: int,
    kernels: Literal["auto", "torch", "fused"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    num_classes: int | None = None,
    small_input: bool = False,
    device: str = "cpu",
    **options: Any,
) -> TrainingStep:
    """Return the very step that the loop runs, on random pictures: call it to take it once more.

    Forward, loss, backward, optimiser; computed as a long run on this machine would be (`method` says how). By default
    as many classes as in the paper; `options` are the network's own. As in a run, the process keeps
    the memory that it frees.
    """
    keep_freed_memory()
    spec = model_info(name)
    task = Task(
        model=name,
        num_classes=num_classes or spec.num_classes,
        in_channels=spec.in_channels,
        small_input=small_input,
        options=options,
        image_size=image_size,
        batch_size=batch_size,
        device=device,
    )
    return build_step(task, choose(task, Wish(precision=precision, kernels=kernels)).method)
