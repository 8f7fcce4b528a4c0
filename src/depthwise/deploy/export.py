"""From a model file to one `.onnx` file that needs nothing beside it: photo in, calibrated probabilities out.

The graph takes uint8 photos (B, H, W, C) of any size and has two outputs: `probabilities` (B, K), the softmax of the
logits over the temperature, and the bare `logits` (B, K); a third, `features` (B, D), where the file's rule for
decisions needs them. Photos of the network's own size skip the resizing.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from depthwise.artifact import KEY, Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.class_map import find_head
from depthwise.deploy.decision import read_decision
from depthwise.deploy.resize import Resize
from depthwise.models.blocks import Network
from depthwise.models.normalise import Normalise

OPSET = 18
IR_VERSION = 10


class Deployable(nn.Module):
    """Whole numbers from 0 to 255 (B, C, S, S) -> probabilities (B, K), logits (B, K); features (B, D) if asked for."""

    def __init__(
        self, model: nn.Module, geometry: Geometry, temperature: float, *, gives_features: bool = False
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.gives_features = model, temperature, gives_features
        self.normalise = Normalise(geometry.mean, geometry.std)

    def forward(self, levels: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities and logits, and the features that they are made of if asked for."""
        if self.gives_features:
            assert isinstance(self.model, Network)
            features = self.model.embed(self.normalise.levels(levels))
            logits = self.model.classify(features)
            return torch.softmax(logits / self.temperature, 1), logits, features
        logits = self.model(self.normalise.levels(levels))
        return torch.softmax(logits / self.temperature, 1), logits


def to_onnx(model: nn.Module, card: Card, *, takes_any_size: bool = True) -> Any:
    """Return the whole as an onnx.ModelProto. `takes_any_size=False` leaves the resizing out: photos have the size."""
    return assemble(trace_network(model, card), card, takes_any_size=takes_any_size)


def trace_network(model: nn.Module, card: Card) -> Any:
    """Return what follows the resizing as an onnx.ModelProto: `levels` -> `outputs_of(card)`."""
    side, channels = card.geometry.image_size, card.geometry.channels
    example = torch.zeros(2, channels, side, side)
    return _trace(deployable(model, card), example, ("levels", *outputs_of(card)), dynamic=(0,))


def deployable(model: nn.Module, card: Card) -> "Deployable":
    """Return the network with what goes before and after it."""
    gives_features = "features" in outputs_of(card)
    return Deployable(model.eval(), card.geometry, card.temperature, gives_features=gives_features)


def outputs_of(card: Card) -> tuple[str, ...]:
    """Return the names of what an exported file gives."""
    return ("probabilities", "logits", *(["features"] if read_decision(card).needs_features else []))


def assemble(network: Any, card: Card, *, takes_any_size: bool) -> Any:
    """Return `trace_network`'s graph, or an INT8 form of it, behind the nodes that take photos."""
    from onnx import TensorProto, helper

    side, channels = card.geometry.image_size, card.geometry.channels
    shape = ["batch", "height", "width", channels] if takes_any_size else ["batch", side, side, channels]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
    front = _resizing(card.geometry) if takes_any_size else _as_it_is("levels")
    widths = {"features": "features"}
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", widths.get(n, len(card.classes))])
        for n in outputs_of(card)
    ]
    graph = helper.make_graph(
        [*front, *network.graph.node], card.model, [images], outputs, initializer=network.graph.initializer
    )
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="depthwise")
    whole.ir_version = IR_VERSION
    return whole


def describe(proto: Any, card: Card, more: dict[str, Any]) -> bytes:
    """Return the file's bytes, with the card, where its class activation map lies, and `more` in its metadata."""
    from onnx import helper

    whole = metadata_of(card, {"class_map": find_head(proto.graph)} | more)
    helper.set_model_props(proto, {KEY: json.dumps(whole, ensure_ascii=False)})
    data: bytes = proto.SerializeToString()
    return data


TOLD = ("pictures", "split_sha256", "epoch", "step", "num_train_images", "num_valid_images", "valid_top1")
"""`pictures` is the hash of what was trained on."""


def metadata_of(card: Card, more: dict[str, Any]) -> dict[str, Any]:
    """Return what every exported file says of itself; of how it was trained TOLD alone: the rest names folders."""
    told = {name: card.training[name] for name in TOLD if name in card.training}
    return {"card": replace(card, training=told).to_json()} | more


def _as_it_is(output: str) -> list[Any]:
    """Nodes for photos that have the size: channels first, and float."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Transpose", ["images"], [f"{output}_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [f"{output}_first"], [output], to=TensorProto.FLOAT),
    ]


def _resizing(geometry: Geometry) -> list[Any]:
    """Nodes that resize photos, unless they have the size already."""
    from onnx import TensorProto, helper

    example = torch.zeros(2, 40, 50, geometry.channels, dtype=torch.uint8)
    resize = _trace(Resize(geometry), example, ("images", "resized"), dynamic=(0, 1, 2))
    shape = ["b", geometry.channels, geometry.image_size, geometry.image_size]

    def branch(name: str, nodes: list[Any], output: str, constants: Any = ()) -> Any:
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        return helper.make_graph(nodes, name, [], [result], initializer=constants)

    side = helper.make_tensor("side", TensorProto.INT64, [2], [geometry.image_size] * 2)
    size = [
        helper.make_node("Constant", [], ["wanted_size"], value=side),
        helper.make_node("Shape", ["images"], ["found_size"], start=1, end=3),
        helper.make_node("Equal", ["found_size", "wanted_size"], ["sides_fit"]),
        helper.make_node("Cast", ["sides_fit"], ["sides_fit_number"], to=TensorProto.INT32),
        helper.make_node("ReduceMin", ["sides_fit_number"], ["fits_number"], keepdims=0),
        helper.make_node("Cast", ["fits_number"], ["fits"], to=TensorProto.BOOL),
    ]
    then = branch("as_it_is", _as_it_is("unchanged"), "unchanged")
    otherwise = branch("resized", list(resize.graph.node), "resized", resize.graph.initializer)
    return [*size, helper.make_node("If", ["fits"], ["levels"], then_branch=then, else_branch=otherwise)]


def _trace(module: nn.Module, example: Tensor, names: tuple[str, ...], *, dynamic: tuple[int, ...]) -> Any:
    """Return the module as an onnx.ModelProto with these names for its input and outputs."""
    axes = {axis: torch.export.Dim(f"axis{axis}") for axis in dynamic}
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(axes,),
            input_names=list(names[:1]),
            output_names=list(names[1:]),
            opset_version=OPSET,
            verbose=False,
            external_data=False,
        )
    proto = program.model_proto
    _prefix(proto.graph, module.__class__.__name__, set(names))
    return proto


def _prefix(graph: Any, prefix: str, kept: set[str]) -> None:
    """Give all values of a graph names of their own, so that two graphs can be one."""

    def rename(name: str) -> str:
        return name if not name or name in kept else f"{prefix}/{name}"

    for node in graph.node:
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
        node.name = f"{prefix}/{node.name}"
    for constant in graph.initializer:
        constant.name = rename(constant.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks of libraries that we do not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
