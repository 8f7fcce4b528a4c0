"""What runs exported files on the CPU: ONNX Runtime here, others beside it, all without torch.

An engine takes pictures of the network's own size; ONNX Runtime's takes any, where the file resizes.
"""

import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import KEY, SCHEMA, Card
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError
from depthwise.metrics import Logits

EngineName = Literal["auto", "onnxruntime", "openvino", "openvino-bf16"]
SUFFIXES = (".onnx", ".xml", ".tflite", ".pt2")
"""Of exported files."""


@dataclass(frozen=True)
class Choice:
    """How a file is to be run."""

    engine: EngineName = "auto"
    """auto: ONNX Runtime for .onnx; each other kind of file has one engine only (.xml: OpenVINO in float32)."""
    threads: int | None = None
    """Processor cores; None: the engine's own choice, all."""
    batch: int | None = None
    """More pictures than that are answered in parts of this size, where that is faster; None: all at once."""

    def __post_init__(self) -> None:
        for flag, count in (("--threads", self.threads), ("batch", self.batch)):
            if count is not None and count < 1:
                raise UserError(f"{flag} {count}: at least 1")


class OnnxEngine:
    """Computes logits by ONNX Runtime on the CPU."""

    def __init__(self, source: Path | bytes, name: str = "", *, threads: int | None = None) -> None:
        """`source`: a file, or its bytes and a `name` for messages. Raises UserError when it is no exported model."""
        path = Path(name) if isinstance(source, bytes) else source
        if not isinstance(source, bytes) and not path.is_file():
            raise UserError(f"{path}: no such model file")
        try:
            self.session = _session(source, threads)
        except Exception as error:  # ONNX Runtime's own have no common base
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: ONNX Runtime cannot read this model: {reason}") from error
        self.metadata = read_metadata(self.session.get_modelmeta().custom_metadata_map, path)
        self.card = card_of(self.metadata, path)
        self.takes_any_size = isinstance(self.session.get_inputs()[0].shape[1], str)

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, H, W, C); of any size, all of a batch alike."""
        found: list[Any] = self.session.run(["logits"], {"images": images})
        logits: Logits = found[0]
        return logits

    @property
    def has_features(self) -> bool:
        """Whether the file gives the network's features beside its logits."""
        return "features" in {output.name for output in self.session.get_outputs()}

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits (B, K) and features (B, D), both float32, as `logits` does."""
        found: list[Any] = self.session.run(["logits", "features"], {"images": images})
        return found[0], found[1]


class Exported(Protocol):
    """An engine that runs an exported file."""

    card: Card
    metadata: dict[str, Any]
    """All that the file says of itself: its card, its verification, pictures to ask again."""
    takes_any_size: bool
    """Whether it resizes pictures itself, where it is run so."""

    @property
    def has_features(self) -> bool:
        """Whether the file gives the network's features beside its logits."""

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C)."""

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits, and the features (B, D) that they are made of."""


class Parts:
    """An engine that answers many pictures a few at a time: their inner maps then stay in the processor's cache."""

    def __init__(self, engine: Exported, size: int) -> None:
        self.engine, self.size = engine, size
        self.card, self.metadata, self.has_features = engine.card, engine.metadata, engine.has_features
        self.takes_any_size = engine.takes_any_size

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return the engine's answers."""
        if len(images) <= self.size:
            return self.engine.logits(images)
        return np.concatenate([self.engine.logits(part) for part in self._parts(images)])

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return the engine's answers and features."""
        logits, features = zip(*(self.engine.with_features(part) for part in self._parts(images)), strict=True)
        return np.concatenate(logits), np.concatenate(features)

    def _parts(self, images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        return [images[start : start + self.size] for start in range(0, len(images), self.size)]


def run_network(network: bytes | Path, levels: NDArray[np.float32]) -> Logits:
    """Return float32 (B, K) of a bare network, an ONNX file or its bytes, for levels (B, C, S, S), a few at a time."""
    session = _session(network, None)
    starts = range(0, len(levels), 32)
    return np.concatenate([session.run(["logits"], {"levels": levels[s : s + 32]})[0] for s in starts])


def _session(source: Path | bytes, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # INT8 on x86 without VNNI: weights as uint8, as products of pairs would overflow 16 bits otherwise.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def read_metadata(properties: dict[str, str], path: Path) -> dict[str, Any]:
    """Return what an exported file says of itself. Raises UserError when it is not one of depthwise."""
    try:
        metadata = json.loads(properties[KEY])
    except (KeyError, ValueError) as error:
        kind = "an ONNX" if path.suffix == ".onnx" else f"a {path.suffix}"
        raise UserError(f"{path}: {kind} file, but not one of depthwise (no metadata called {KEY!r})") from error
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its metadata are not a table")
    return metadata


def card_of(metadata: dict[str, Any], path: Path) -> Card:
    """Return the card in an exported file's metadata. Raises UserError when it does not fit."""
    try:
        schema = metadata["card"].get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise UserError(
                f"{path}: written by a newer depthwise, in schema {schema}; this version reads up to {SCHEMA}. "
                "Update it: pip install --upgrade depthwise"
            )
        card = Card.from_json(metadata["card"])
        if not 0 < card.temperature < inf:
            raise ValueError(f"temperature {card.temperature}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the model file is damaged: its metadata do not fit: {error}") from error
    return card
