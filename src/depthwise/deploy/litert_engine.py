"""LiteRT (formerly TensorFlow Lite): runs `.tflite` files, on phones above all. Imports no torch.

The card lies in a zip archive behind the model, which readers of the model do not see: so files that belong to a model
travel with it (TensorFlow Lite Metadata, "associated files").
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import KEY
from depthwise.deploy.engine import card_of, read_metadata
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError, require
from depthwise.machine import num_processors
from depthwise.metrics import Logits

ENTRY = f"{KEY}.json"


class LiteRtEngine:
    """Computes logits by LiteRT, one picture of the network's size at a time: the file has that shape."""

    takes_any_size = False

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Raises UserError when it is no exported model. `threads`: None is one per processor."""
        require("ai_edge_litert", "", f"running {path}")
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise UserError(f"{path}: no such model file")
        self.metadata = read_metadata(_behind(path), path)
        self.card = card_of(self.metadata, path)
        try:
            self.interpreter: Any = Interpreter(str(path), num_threads=threads or num_processors())
        except ValueError as error:
            raise UserError(f"{path}: LiteRT cannot read this model: {error}") from error
        self.interpreter.allocate_tensors()
        self.images = self.interpreter.get_input_details()[0]["index"]
        _, *self.outputs = [output["index"] for output in self.interpreter.get_output_details()]  # not probabilities
        self.has_features = len(self.outputs) > 1

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C)."""
        return np.concatenate([self._one(image[None])[0] for image in images])

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits (B, K) and features (B, D), both float32."""
        logits, features = zip(*(self._one(image[None]) for image in images), strict=True)
        return np.concatenate(logits), np.concatenate(features)

    def _one(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self.interpreter.set_tensor(self.images, image)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(output) for output in self.outputs]


def with_metadata(model: bytes, metadata: str) -> bytes:
    """Return the model's bytes with the metadata behind them."""
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(zipfile.ZipInfo(ENTRY), metadata.encode())  # ZipInfo: without the time of day
    return stream.getvalue()


def _behind(path: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {KEY: archive.read(ENTRY).decode()}
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        return {}
