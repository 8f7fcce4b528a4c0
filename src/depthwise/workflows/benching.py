"""`depthwise bench`: how fast a model answers on this machine, by threads and batch, and how much memory it takes."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.measure import Timing, affordable, interleave
from depthwise.deploy.predict import Engine
from depthwise.deploy.verify import noise
from depthwise.errors import UserError
from depthwise.machine import num_processors, peak_mib, processor
from depthwise.metrics import Logits
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model

BATCHES = (1, 8, 32)
CHILD = "import sys; from depthwise.workflows.benching import answer_once; answer_once(*sys.argv[1:])"


class Setting(NamedTuple):
    """One way to ask a model."""

    threads: int
    batch: int


@dataclass(frozen=True)
class Row:
    """What was measured with one setting."""

    threads: int
    batch: int
    timing: Timing
    """Of one batch."""
    peak_mib: float | None
    """Most memory of a fresh process that loads the model and answers one batch; None where it cannot be told."""

    @property
    def images_per_s(self) -> float:
        """Pictures in a second, by the median."""
        return 1000 * self.batch / self.timing.p50_ms

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {"threads": self.threads, "batch": self.batch}
        return counts | asdict(self.timing) | {"images_per_s": self.images_per_s, "peak_mib": self.peak_mib}


@dataclass(frozen=True)
class Benchmark:
    """What was measured of one model, and on what."""

    path: Path
    model: str
    image_size: int
    engine: str
    """Who computed, with version."""
    processor: str
    num_processors: int
    rows: tuple[Row, ...]
    left_out: tuple[Setting, ...]
    """What would have taken longer than there was time for."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        told = {name: getattr(self, name) for name in ("model", "image_size", "engine", "processor", "num_processors")}
        rows = {"rows": [row.to_json() for row in self.rows], "left_out": [s._asdict() for s in self.left_out]}
        return {"path": str(self.path)} | told | rows


def bench(
    model: str | Path, *, seconds: float = 20.0, factory: str | None = None, console: Quiet | None = None
) -> Benchmark:
    """Measure a model file on the CPU: an `.onnx` by ONNX Runtime, without torch; any other, or a run, by PyTorch.

    With 1 and 2 threads and as many as there are processors, and batches of 1, 8 and 32 pictures of the network's own
    size: reading and resizing photos is not in it. Times take about `seconds`; the memory, which fresh processes tell,
    comes on top. Raises UserError.
    """
    if not seconds > 0:
        raise UserError(f"--seconds {seconds:g}: need more than 0")
    console, path = console or Quiet(), find_model(model)
    settings = _settings()
    with _engines(path, factory, {setting.threads for setting in settings}) as engines:
        card = next(iter(engines.values())).card
        calls = {setting: _call(engines[setting.threads], setting.batch) for setting in settings}
        kept = affordable(_costs(calls), seconds)
        timings = interleave({setting: calls[setting] for setting in kept}, seconds)
    rows = [Row(*s, timings[s], _memory(path, s, factory)) for s in console.track(kept, len(kept), "Measuring memory")]
    return Benchmark(
        path,
        card.model,
        card.geometry.image_size,
        _name(path),
        processor(),
        num_processors(),
        tuple(sorted(rows, key=lambda row: (row.threads, row.batch))),
        tuple(sorted(setting for setting in settings if setting not in kept)),
    )


def answer_once(model: str, threads: str, batch: str, factory: str = "") -> None:
    """Load a model, answer one batch and print the most memory that this process had, MiB. What a child runs."""
    with _engines(Path(model), factory or None, {int(threads)}) as engines:
        _call(engines[int(threads)], int(batch))()
    sys.stdout.write(f"{peak_mib()}\n")


def _settings() -> list[Setting]:
    """Return the settings to measure, the cheapest batch first."""
    counts = sorted({count for count in (1, 2, num_processors()) if count <= num_processors()})
    return [Setting(threads, batch) for batch in BATCHES for threads in counts]


@contextmanager
def _engines(path: Path, factory: str | None, counts: Iterable[int]) -> Iterator[dict[int, Engine]]:
    """Yield an engine for each count of threads; PyTorch's own count is put back afterwards."""
    if path.suffix == ".onnx":
        yield {threads: OnnxEngine(path, threads=threads) for threads in counts}
        return
    engine = load(path, "cpu", factory).engine
    import torch

    before = torch.get_num_threads()
    try:
        yield {threads: Limited(engine, threads) for threads in counts}
    finally:
        torch.set_num_threads(before)


class Limited:
    """An engine of PyTorch that computes with so many threads."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine, self.threads = engine, threads

    @property
    def card(self) -> Card:
        """The engine's."""
        return self.engine.card

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return the engine's answer. The number of threads stays set."""
        import torch

        torch.set_num_threads(self.threads)
        return self.engine.logits(images)


def _name(path: Path) -> str:
    package, name = ("onnxruntime", "ONNX Runtime") if path.suffix == ".onnx" else ("torch", "PyTorch")
    return f"{name} {version(package)}"


def _call(engine: Engine, batch: int) -> Callable[[], object]:
    geometry = engine.card.geometry
    return partial(engine.logits, noise(batch, geometry.image_size, geometry.channels))


def _costs(calls: dict[Setting, Callable[[], object]]) -> dict[Setting, float]:
    """Return about how many seconds each call takes, from single pictures: their first answer only warms up."""
    costs: dict[Setting, float] = {}
    for (threads, batch), call in calls.items():  # the smallest batch comes first
        if batch == BATCHES[0]:
            call()
            started = time.perf_counter()
            call()
            costs[Setting(threads, batch)] = time.perf_counter() - started
        else:
            costs[Setting(threads, batch)] = batch * costs[Setting(threads, BATCHES[0])]
    return costs


def _memory(path: Path, setting: Setting, factory: str | None) -> float | None:
    """Return a fresh process' peak, MiB."""
    if peak_mib() is None:
        return None
    command = [sys.executable, "-c", CHILD, str(path), str(setting.threads), str(setting.batch), factory or ""]
    reply = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    return float(reply.stdout.split()[-1])
