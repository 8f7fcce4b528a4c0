"""OpenVINO: runs `.xml` and `.onnx` files on Intel's and Arm's processors. Imports no torch."""

import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import KEY
from depthwise.deploy.engine import card_of, read_metadata
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError, require
from depthwise.metrics import Logits

PLACE = ["framework", KEY]
"""Where OpenVINO keeps the metadata of an `.onnx` file, also in the `.xml` that it makes of one."""
KEPT = 4
"""Sizes of batches that stay compiled: each needs some memory of its own."""
_LOCK = threading.Lock()


@cache
def _the_core() -> Any:
    import openvino

    return openvino.Core()


def core() -> Any:
    """Return OpenVINO's core: one for the process, kept until its end.

    Its CPU plugin (2026.4) sets an alternate signal stack for the thread that first uses it, and unmaps it when the
    core goes. With a second core, or in another thread, the freed stack stays set: Ctrl-C then ends in a segmentation
    fault.
    """
    with _LOCK:
        return _the_core()


class OpenVinoEngine:
    """Computes logits by OpenVINO on the CPU, compiled for each size of batch. Pictures have the network's size."""

    takes_any_size = False

    def __init__(self, path: Path, *, threads: int | None = None, is_bf16: bool = False) -> None:
        """Raises UserError when it is no exported model.

        In float32 unless `is_bf16`: left to itself, OpenVINO computes in bfloat16 where the processor can.
        """
        require("openvino", "openvino", f"running {path} in OpenVINO")
        if not path.is_file():
            raise UserError(f"{path}: no such model file")
        self.core, self.path = core(), path
        try:
            model = self.core.read_model(path)
        except RuntimeError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "it is damaged")
            raise UserError(f"{path}: OpenVINO cannot read this model: {reason.strip()}") from error
        found = {KEY: str(model.get_rt_info(PLACE).value)} if model.has_rt_info(PLACE) else {}
        self.metadata = read_metadata(found, path)
        self.card = card_of(self.metadata, path)
        self.options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32",
        }
        if threads is not None:
            self.options["INFERENCE_NUM_THREADS"] = threads
        self.has_features = any("features" in output.names for output in model.outputs)
        self.requests: dict[int, Any] = {}

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C). Raises UserError for another size."""
        return self._answers(images)["logits"]

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits (B, K) and features (B, D), both float32, as `logits` does."""
        found = self._answers(images)
        return found["logits"], found["features"]

    def _answers(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        side, channels = self.card.geometry.image_size, self.card.geometry.channels
        if images.shape[1:] != (side, side, channels):
            raise UserError(f"{self.path}: OpenVINO takes pictures of {side} px here, not {images.shape[1:3]}")
        batch = len(images)
        if batch not in self.requests:
            if len(self.requests) == KEPT:
                del self.requests[next(iter(self.requests))]
            self.requests[batch] = self._compile(batch)
        # The request's own memory is written again.
        return {key.any_name: value.copy() for key, value in self.requests[batch].infer({"images": images}).items()}

    def _compile(self, batch: int) -> Any:
        model = self.core.read_model(self.path)
        side, channels = self.card.geometry.image_size, self.card.geometry.channels
        model.reshape({"images": [batch, side, side, channels]})
        return self.core.compile_model(model, "CPU", self.options).create_infer_request()


def has_bf16() -> bool:
    """Return whether this processor computes in bfloat16."""
    found: list[str] = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in found


def to_openvino(onnx: bytes) -> dict[str, bytes]:
    """Return the bytes of a `.xml` and a `.bin` file, in float32, from an ONNX file's. Its metadata come along."""
    import openvino

    model = core().read_model(onnx)
    with tempfile.TemporaryDirectory(prefix="depthwise-openvino-") as folder:
        out = Path(folder) / "model.xml"
        openvino.save_model(model, out, compress_to_fp16=False)
        return {suffix: out.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}
