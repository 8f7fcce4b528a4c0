"""The engine that runs an exported `.onnx` file: ONNX Runtime, no torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import KEY, Card
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError
from depthwise.metrics import Logits


class OnnxEngine:
    """Computes logits by ONNX Runtime on the CPU."""

    def __init__(self, source: Path | bytes, name: str = "", *, threads: int | None = None) -> None:
        """`source`: a file, or its bytes and a `name` for messages. Raises UserError when it is no exported model."""
        import onnxruntime

        path = Path(name) if isinstance(source, bytes) else source

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if not isinstance(source, bytes) and not path.is_file():
            raise UserError(f"{path}: no such model file")
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own have no common base
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: ONNX Runtime cannot read this model: {reason}") from error
        self.metadata = read_metadata(self.session.get_modelmeta().custom_metadata_map, path)
        self.card = card_of(self.metadata, path)

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


def read_metadata(properties: dict[str, str], path: Path) -> dict[str, Any]:
    """Return what an exported file says of itself. Raises UserError when it is not one of depthwise."""
    try:
        metadata = json.loads(properties[KEY])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: an ONNX file, but not one of depthwise (no metadata called {KEY!r})") from error
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its metadata are not a table")
    return metadata


def card_of(metadata: dict[str, Any], path: Path) -> Card:
    """Return the card in an exported file's metadata. Raises UserError when it does not fit."""
    try:
        return Card.from_json(metadata["card"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the model file is damaged: its metadata do not fit: {error}") from error
