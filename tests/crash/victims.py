"""Processes to be killed: a command line of depthwise in a child that was forked with torch already imported.

multiprocessing's fork server does the forking. It has never computed a gradient, so its children can; the test process,
which has, could not be forked.
"""

import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "__main__",
        "depthwise.cli",
        "depthwise.workflows.training",
        "depthwise.models.registry",
        "depthwise.models.mobilenet_v1",
        "depthwise.report.terminal",
        "torch._dynamo",  # the optimiser imports it at its first step
        "safetensors.torch",
        "tomli_w",
    ]
)


@dataclass(frozen=True)
class Kill:
    """When a child kills itself: at the `number`-th event of a kind, counted from 1 over its whole life."""

    event: str
    """step, stepped: before and after the optimiser's step; validation: after a batch of it; write, sync, rename:
    inside a save, at that call; synced: at the end of a save."""
    number: int
    share: float = 0.5
    """Of a write: how much of it gets to the file."""


@dataclass(frozen=True)
class Order:
    """What a child is to do."""

    arguments: list[str]
    said: Path
    """Where its output goes."""
    trace: Path | None = None
    """Where it notes the samples of every step, and beside it, as .state, the digest of what it ends with."""
    kill: Kill | None = None
    environment: dict[str, str] = field(default_factory=dict)
    step_timeout_s: float | None = None
    """How long the other processes of a run may be silent; None: as long as usual."""


def start(order: Order) -> BaseProcess:
    """Start a child and return at once."""
    process = CONTEXT.Process(target=_obey, args=(order,))
    process.start()
    return process


def finish(order: Order) -> int:
    """Run a child to its end; return its exit status, negative for a signal."""
    process = start(order)
    process.join(120)
    assert process.exitcode is not None, f"hangs: {order}"
    return process.exitcode


def _obey(order: Order) -> None:
    os.environ.update(order.environment)
    with open(order.said, "ab", buffering=0) as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    watch(order)
    from depthwise.cli import run

    status = run(order.arguments)
    sys.stdout.flush()
    os._exit(status)


def watch(order: Order) -> None:
    """Put the trace and the kill in place."""
    from torch.optim import SGD

    from depthwise import files
    from depthwise.training import distributed
    from depthwise.training.loop import StepReport, ValidationReport
    from depthwise.workflows import training

    if order.step_timeout_s:
        distributed.STEP_TIMEOUT = timedelta(seconds=order.step_timeout_s)
    tick = _Clock(order.kill)
    real_run, real_step = training.run, SGD.step

    def run(*arguments: Any, **options: Any) -> Iterator[Any]:
        for report in real_run(*arguments, **options):
            if isinstance(report, StepReport) and order.trace:
                with open(order.trace, "a") as file:
                    file.write(f"{report.step} {' '.join(map(str, report.ids.tolist()))}\n")
            if isinstance(report, ValidationReport):
                tick("validation")
            yield report
        if order.trace:
            order.trace.with_suffix(".state").write_text(digest(arguments[0].tensors()))

    def step(self: SGD, *arguments: Any) -> Any:
        tick("step")
        result = real_step(self, *arguments)
        tick("stepped")
        return result

    class Disk(files.Disk):
        def write(self, file: BinaryIO, data: bytes) -> None:
            if tick.is_next("write"):
                super().write(file, data[: int(tick.kill.share * len(data))])
            tick("write")
            super().write(file, data)

        def sync(self, file: BinaryIO) -> None:
            tick("sync")
            super().sync(file)

        def rename(self, source: Path, target: Path) -> None:
            tick("rename")
            super().rename(source, target)

        def sync_folder(self, folder: Path) -> None:
            tick("synced")
            super().sync_folder(folder)

    training.run, SGD.step, files.DISK = run, step, Disk()


def digest(tensors: dict[str, Any]) -> str:
    """Return what stands for these bits."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].numpy().tobytes())
    return found.hexdigest()


class _Clock:
    """Counts events, and kills this process when its hour has come."""

    def __init__(self, kill: Kill | None) -> None:
        self.kill, self.counts = (
            kill,
            dict.fromkeys(("step", "stepped", "validation", "write", "sync", "rename", "synced"), 0),
        )

    def is_next(self, event: str) -> bool:
        return self.kill is not None and (event, self.counts[event] + 1) == (self.kill.event, self.kill.number)

    def __call__(self, event: str) -> None:
        if self.is_next(event):
            os.kill(os.getpid(), signal.SIGKILL)
        self.counts[event] += 1
