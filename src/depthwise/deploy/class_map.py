"""Where in a picture an exported network sees a class: the class activation map (Zhou et al. 2016, arXiv:1512.04150).

Where pooling and a linear layer end a network, that is Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, section 3)
and needs no gradients: the last map weighted by the class's row of the linear layer. ONNX Runtime gives only what a
graph calls its outputs, so the map and the weights are made outputs of the file's bytes in memory. No torch, no onnx.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthwise.deploy.engine import OnnxEngine
from depthwise.errors import UserError

GRAPH, OUTPUT = 7, 12
"""Numbers of ModelProto.graph and GraphProto.output in onnx.proto3."""
SAME_VALUES = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze")
"""Operators between pooling and the linear layer that leave the values of (B, C) as they are."""


class Heat(NamedTuple):
    """What speaks for one class, and where."""

    layer: str  # the layer or value whose map it is
    logits: NDArray[np.float32]  # (K,)
    number: int  # of the class
    map: NDArray[np.float32]  # (h, w), at least 0: what the places add to the class's logit


def class_map(path: Path, image: NDArray[np.uint8], number: int | None = None) -> Heat:
    """Return the map for class `number` (the answer unless given) of one picture, uint8 (S, S, C), from a `.onnx` file.

    relu(W_k A) over the number of places: what `explain.grad_cam` gives for the same network. Raises UserError where no
    pooling and linear layer end the network.
    """
    head = OnnxEngine(path).metadata.get("class_map")
    if not head:
        raise UserError(
            f"{path}: no map in this file: it computes in INT8, or pooling and one linear layer do not end its "
            "network. Explain the run or the model file that it was made from; that needs torch: pip install "
            "'depthwise[train]'"
        )
    engine = OnnxEngine(with_outputs(path.read_bytes(), (head["map"], head["weights"])), str(path))
    found = engine.session.run(["logits", head["map"], head["weights"]], {"images": image[None]})
    logits, maps, weights = found[0][0], found[1][0], found[2]  # (K,), (C, h, w), (K, C)
    if maps.shape[1:] == (1, 1):
        raise UserError(f"{path}: its last map has one place only for a picture of {len(image)} px: nothing to show")
    chosen = int(logits.argmax()) if number is None else number
    heat = np.einsum("c,chw->hw", weights[chosen], maps) / maps[0].size
    return Heat(head["map"], logits, chosen, np.maximum(heat, 0))


def with_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """Return an ONNX file's bytes with these float values of its graph as further outputs.

    Protocol buffers merge a message that stands twice in their bytes, lists by appending ("Last One Wins" in their
    encoding's documentation). So a second `graph` that has only outputs, put behind the file, adds them.
    """
    return data + _field(GRAPH, b"".join(_field(OUTPUT, _float_value(name)) for name in names))


def _float_value(name: str) -> bytes:
    """Return a ValueInfoProto: name (1), type (2) with tensor_type (1) with elem_type (1) FLOAT; shape left open."""
    return _field(1, name.encode()) + _field(2, _field(1, b"\x08\x01"))


def _field(number: int, content: bytes) -> bytes:
    """Return a field of bytes: its number and wire type 2, the length, the content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a whole number as protocol buffers write it: 7 bits a byte, the lowest first."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def find_head(graph: Any) -> dict[str, str] | None:
    """Return the names of the last map (B, C, h, w) and of the linear layer's weights (K, C) in an onnx.GraphProto.

    None unless `logits` is a linear layer of the map's mean over its places, and nothing else.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    linear = makers.get("logits")
    if linear is None or linear.op_type != "Gemm" or linear.input[1] not in constants or not _is_plain(linear):
        return None
    pool = makers.get(linear.input[0])
    while pool is not None and pool.op_type in SAME_VALUES:
        pool = makers.get(pool.input[0])
    if pool is None or not _is_mean_over_places(pool, constants):
        return None
    return {"map": pool.input[0], "weights": linear.input[1]}


def _is_plain(linear: Any) -> bool:
    """Return whether a Gemm node computes x W^T + b."""
    given = {attribute.name: attribute.f or attribute.i for attribute in linear.attribute}
    return given.get("transB") == 1 and not given.get("transA") and given.get("alpha", 1) == given.get("beta", 1) == 1


def _is_mean_over_places(node: Any, constants: dict[str, Any]) -> bool:
    from onnx import numpy_helper

    if node.op_type == "ReduceMean" and len(node.input) == 2 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]])
        return sorted(int(axis) % 4 for axis in axes) == [2, 3]
    return bool(node.op_type == "GlobalAveragePool")
