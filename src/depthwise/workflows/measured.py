"""What networks take on this machine: measured once, then kept in the user's cache folder."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from depthwise import files
from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.engine import Choice
from depthwise.deploy.export import describe, to_onnx
from depthwise.deploy.measure import interleave
from depthwise.deploy.verify import noise
from depthwise.errors import CannotWrite
from depthwise.machine import num_processors, processor
from depthwise.models.create import create_model
from depthwise.models.registry import ModelSpec
from depthwise.models.summary import check_image_size
from depthwise.workflows.opening import open_engine

SECONDS = 1.0
"""For a network's time; making and exporting it takes some seconds more."""
UNSTEADY = 1.5
PACKAGES = ("depthwise", "torch", "onnx", "onnxscript")
Runner = Literal["onnxruntime", "openvino"]
"""What runs an exported file, by the name of its package."""


@dataclass(frozen=True)
class Measured:
    """What one network takes, exported and run by the engine asked for, one picture at a time."""

    fastest_ms: float
    p50_ms: float
    p95_ms: float
    num_calls: int
    num_bytes: int
    """Of the exported .onnx file, without the resizing."""

    @property
    def is_unsteady(self) -> bool:
        """Whether calls took so differently that the machine must have been busy with something else."""
        return self.p95_ms > UNSTEADY * self.p50_ms


@dataclass(frozen=True)
class Ask:
    """What to measure."""

    spec: ModelSpec
    image_size: int
    num_classes: int
    threads: int
    engine: Runner = "onnxruntime"

    @property
    def key(self) -> str:
        """Everything that the result depends on."""
        values = {
            "network": self.spec.name,
            "options": dict(self.spec.options),
            "image_size": self.image_size,
            "num_classes": self.num_classes,
            "threads": self.threads,
            "engine": self.engine,
            "processor": f"{num_processors()} x {processor()}",
            "versions": {name: version(name) for name in (*PACKAGES, self.engine)},
        }
        return json.dumps(values, sort_keys=True, default=str)


def measure_network(ask: Ask) -> Measured:
    """Make the network with random weights, export it, and time single pictures. Raises UserError for a wrong size."""
    model = create_model(ask.spec.name, ask.num_classes)
    check_image_size(model, ask.image_size, ask.spec.in_channels)
    classes = tuple(f"class {number}" for number in range(ask.num_classes))
    card = Card("model", ask.spec.name, {}, False, classes, Geometry(ask.image_size))
    data = describe(to_onnx(model, card, takes_any_size=False), card, {})
    with tempfile.TemporaryDirectory(prefix="depthwise-recommend-") as folder:
        file = Path(folder) / f"{ask.spec.name}.onnx"
        file.write_bytes(data)
        engine = open_engine(file, Choice(ask.engine, ask.threads))
        picture = noise(1, ask.image_size, 3)
        found = interleave({ask.spec.name: lambda: engine.logits(picture)}, SECONDS)[ask.spec.name]
    return Measured(found.fastest_ms, found.p50_ms, found.p95_ms, found.num_calls, len(data))


class Kept:
    """A file of measurements. What cannot be read in it is measured anew."""

    def __init__(self, path: Path, measure: Callable[[Ask], Measured] = measure_network) -> None:
        self.path, self.measure = path, measure
        self.failure: CannotWrite | None = None
        """Why nothing could be kept, where that was tried in vain."""

    def has(self, ask: Ask) -> bool:
        """Return whether this was measured before."""
        return self._found(ask) is not None

    def get(self, ask: Ask, *, refresh: bool = False) -> Measured:
        """Return what was measured before, or measure it now and keep it. Raises UserError as measuring does."""
        found = None if refresh else self._found(ask)
        if found is None:
            found = self.measure(ask)
            try:
                files.keep(self.path, {ask.key: asdict(found)})
            except CannotWrite as error:
                self.failure = error
        return found

    def _found(self, ask: Ask) -> Measured | None:
        try:
            return Measured(**files.read_kept(self.path)[ask.key])
        except (KeyError, TypeError):
            return None
