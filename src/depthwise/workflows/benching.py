"""`depthwise bench`: how fast a model answers on this machine, by threads and batch, and how much memory it takes."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

from depthwise.console import Quiet
from depthwise.deploy.engine import SUFFIXES, Choice, EngineName, Exported
from depthwise.deploy.measure import Timing, affordable, interleave
from depthwise.deploy.predict import Engine, FeatureEngine
from depthwise.deploy.verify import check_golden, noise, tolerance_of
from depthwise.errors import CannotWrite, UserError
from depthwise.machine import num_processors, peak_mib, processor
from depthwise.workflows import finding
from depthwise.workflows.loading import load
from depthwise.workflows.opening import open_engine
from depthwise.workflows.run_folder import find_model

BATCHES = (1, 8, 32)
SAME = 0.95
"""Of the highest speed: what is as fast as that counts as equal, and of equals the largest batch is taken."""
CHILD = "import sys; from depthwise.workflows.benching import answer_once; answer_once(*sys.argv[1:])"


class Setting(NamedTuple):
    """One way to ask a model."""

    threads: int
    batch: int
    engine: str = "onnxruntime"

    @property
    def who(self) -> "Who":
        """Who answers, whatever the batch."""
        return Who(self.engine, self.threads)


class Who(NamedTuple):
    """An engine with so many threads."""

    engine: str
    threads: int


@dataclass(frozen=True)
class Row:
    """What was measured with one setting."""

    threads: int
    batch: int
    engine: str
    timing: Timing
    """Of one batch."""
    peak_mib: float | None
    """Most memory of a fresh process that loads the model and answers one batch; None where it cannot be told."""

    @property
    def images_per_s(self) -> float:
        """Pictures in a second, by the median."""
        return 1000 * self.batch / self.timing.p50_ms

    @property
    def choice(self) -> Choice:
        """The setting, as `load` takes it; more pictures than in the batch are answered in parts."""
        return Choice(cast(EngineName, self.engine), self.threads, self.batch)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        counts = {"engine": self.engine, "threads": self.threads, "batch": self.batch}
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
    differences: dict[str, float]
    """By engine: how far probabilities are, at most, from what they were on the pictures in the file."""
    tolerance: float
    """How far they may be for an engine to be chosen."""
    is_kept: bool = False
    """Whether the fastest was remembered."""

    @property
    def fastest(self) -> dict[finding.Work, Row]:
        """What answers single pictures, and many, fastest, of the engines that compute what they should."""
        trusted = [row for row in self.rows if self.is_trusted(row.engine)]
        if not trusted:
            return {}
        enough = SAME * max(row.images_per_s for row in trusted)
        many = [row for row in trusted if row.images_per_s >= enough]
        fastest: dict[finding.Work, Row] = {"many": max(many, key=lambda row: (row.batch, row.images_per_s))}
        if single := [row for row in trusted if row.batch == 1]:
            fastest["single"] = min(single, key=lambda row: row.timing.p50_ms)
        return fastest

    def is_trusted(self, engine: str) -> bool:
        """Whether an engine was checked and computes what it should."""
        return self.differences.get(engine, float("inf")) <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the command line prints them."""
        told = {name: getattr(self, name) for name in ("model", "image_size", "engine", "processor", "num_processors")}
        told |= {"differences": self.differences, "tolerance": self.tolerance}
        rows = {"rows": [row.to_json() for row in self.rows], "left_out": [s._asdict() for s in self.left_out]}
        return {"path": str(self.path)} | told | rows


def bench(
    model: str | Path,
    *,
    seconds: float = 20.0,
    factory: str | None = None,
    trust_code: bool = False,
    console: Quiet | None = None,
) -> Benchmark:
    """Measure a model file on the CPU: an exported one by what runs it, without torch; any other, or a run, by PyTorch.

    An `.onnx` runs in ONNX Runtime and, where it is installed, in OpenVINO, also in bfloat16 where the processor can.
    The fastest that computes what it should on the pictures in the file is remembered, for single pictures and for many
    (`load`'s `work`; `evaluate` takes the latter).

    With 1 and 2 threads and as many as there are processors, and batches of 1, 8 and 32 pictures of the network's own
    size: reading and resizing photos is not in it. Times take about `seconds`; the memory, which fresh processes tell,
    comes on top. `trust_code` opens a `.pt2`, which can run any code in it. Raises UserError.
    """
    if not seconds > 0:
        raise UserError(f"--seconds {seconds:g}: need more than 0")
    console, path = console or Quiet(), find_model(model)
    settings = _settings(_names(path))
    engines = _engines(path, factory, {setting.who for setting in settings}, trust_code=trust_code)
    card = next(iter(engines.values())).card
    differences, tolerance = _differences(engines)
    calls = {setting: _call(engines[setting.who], setting.batch) for setting in settings}
    kept = affordable(_costs(calls), seconds)
    timings = interleave({setting: calls[setting] for setting in kept}, seconds)
    rows = [Row(*s, timings[s], _memory(path, s, factory)) for s in console.track(kept, len(kept), "Measuring memory")]
    found = Benchmark(
        path,
        card.model,
        card.geometry.image_size,
        _name(path),
        processor(),
        num_processors(),
        tuple(sorted(rows, key=lambda row: (row.engine, row.threads, row.batch))),
        tuple(sorted(setting for setting in settings if setting not in kept)),
        differences,
        tolerance,
    )
    return replace(found, is_kept=_keep(path, found.fastest, console))


def _keep(path: Path, fastest: Mapping[finding.Work, Row], console: Quiet) -> bool:
    """Remember what is fastest; return whether that could be done."""
    try:
        if fastest:
            finding.keep(path, {work: row.choice for work, row in fastest.items()})
    except CannotWrite as error:
        console.warn(f"what is fastest is not remembered: {error}")
        return False
    return bool(fastest)


def answer_once(model: str, threads: str, batch: str, engine: str = "onnxruntime", factory: str = "") -> None:
    """Load a model, answer one batch and print the most memory that this process had, MiB. What a child runs.

    Its parent has opened the same file, so it is trusted.
    """
    who = Who(engine, int(threads))
    _call(_engines(Path(model), factory or None, {who}, trust_code=True)[who], int(batch))()
    sys.stdout.write(f"{peak_mib()}\n")


def _names(path: Path) -> list[str]:
    """Return the engines that can run the file here; for a model file PyTorch."""
    if path.suffix not in (".onnx", ".xml"):
        return ["auto" if path.suffix in SUFFIXES else "pytorch"]
    names = ["onnxruntime"] if path.suffix == ".onnx" else []
    if find_spec("openvino") or not names:
        from depthwise.deploy.openvino_engine import has_bf16

        names += ["openvino", *["openvino-bf16"] * has_bf16()]
    return names


def _differences(engines: Mapping[Who, Engine]) -> tuple[dict[str, float], float]:
    """Return how far each engine is from what was computed at export, and how far it may be; nothing for PyTorch."""
    one_each = {who.engine: engine for who, engine in engines.items()}
    metadata = [getattr(engine, "metadata", {}) for engine in one_each.values()]
    checked = {
        name: check_golden(cast(Exported, engine))
        for (name, engine), known in zip(one_each.items(), metadata, strict=True)
        if known
    }
    return {name: apart for name, apart in checked.items() if apart is not None}, tolerance_of(metadata[0])


def _settings(names: Iterable[str]) -> list[Setting]:
    """Return the settings to measure, the cheapest batch first."""
    counts = sorted({count for count in (1, 2, num_processors()) if count <= num_processors()})
    return [Setting(threads, batch, name) for batch in BATCHES for threads in counts for name in names]


def _engines(path: Path, factory: str | None, wanted: Iterable[Who], *, trust_code: bool) -> dict[Who, Engine]:
    """Return the engines; those of PyTorch share the weights."""
    if path.suffix in SUFFIXES and path.suffix != ".pt2":
        return {who: open_engine(path, Choice(cast(EngineName, who.engine), who.threads)) for who in sorted(wanted)}
    if path.suffix == ".pt2":
        engine: Engine = open_engine(path, trust_code=trust_code)
    else:
        engine = load(path, "cpu", factory).engine
    from depthwise.deploy.limited import Limited

    return {who: Limited(cast(FeatureEngine, engine), who.threads) for who in sorted(wanted)}


TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "ai-edge-litert": "LiteRT", "torch": "PyTorch"}


def _name(path: Path) -> str:
    """Return who computes, with versions."""
    if path.suffix in (".onnx", ".xml"):
        packages = [name for name in _names(path) if name in TITLES]
    else:
        packages = ["ai-edge-litert" if path.suffix == ".tflite" else "torch"]
    return ", ".join(f"{TITLES[package]} {version(package)}" for package in packages)


def _call(engine: Engine, batch: int) -> Callable[[], object]:
    geometry = engine.card.geometry
    return partial(engine.logits, noise(batch, geometry.image_size, geometry.channels))


def _costs(calls: dict[Setting, Callable[[], object]]) -> dict[Setting, float]:
    """Return about how many seconds each call takes, from single pictures: their first answer only warms up."""
    costs: dict[Setting, float] = {}
    for (threads, batch, name), call in calls.items():  # the smallest batch comes first
        if batch == BATCHES[0]:
            call()
            started = time.perf_counter()
            call()
            costs[Setting(threads, batch, name)] = time.perf_counter() - started
        else:
            costs[Setting(threads, batch, name)] = batch * costs[Setting(threads, BATCHES[0], name)]
    return costs


def _memory(path: Path, setting: Setting, factory: str | None) -> float | None:
    """Return a fresh process' peak, MiB."""
    if peak_mib() is None:
        return None
    how = [str(path), str(setting.threads), str(setting.batch), setting.engine, factory or ""]
    command = [sys.executable, "-c", CHILD, *how]
    reply = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    return float(reply.stdout.split()[-1])
