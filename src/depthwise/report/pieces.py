"""A network as its top-level layers and blocks, in the order of computation."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from depthwise.models.summary import LayerRow, summary
from depthwise.report.boxes import NOTES, Kind, Shape, words
from depthwise.report.flow import Flow, Skip, flow_of


class Piece(NamedTuple):
    """A layer or block, or several equal ones one after another."""

    name: str  # path; blocks.3-5 where there are several
    label: str  # "inverted residual"
    detail: str  # "1x1, 3x3 depthwise / 2, 1x1"
    kind: Kind
    skip: Skip
    shape: Shape  # of the last one's output
    params: int
    macs: int
    num_equal: int
    same: tuple[Any, ...]  # what equal pieces have in common

    @property
    def is_note(self) -> bool:
        """Whether it belongs beside the layer before it."""
        return self.kind == "other" and not self.detail and self.label in NOTES.values()


class _Call(NamedTuple):
    """A piece that was called."""

    name: str
    layer: nn.Module
    input: Shape
    output: Shape


def pieces_of(model: nn.Module, image_size: int, in_channels: int) -> list[Piece]:
    """Return a network's pieces in the order of computation; equal ones in a row are one.

    The model is neither run nor changed. Raises UserError when the pictures are too small for it.
    """
    rows = summary(model, image_size, in_channels)
    twin = copy.deepcopy(model).to("meta").eval()
    pieces: list[Piece] = []
    for call in _calls(twin, image_size, in_channels):
        flow = flow_of(call.layer, call.input)
        if flow.boxes:
            _add(pieces, _piece(call, flow, rows))
    return _fold(pieces)


def _calls(twin: nn.Module, image_size: int, in_channels: int) -> list[_Call]:
    """Run a network on the meta device and return what was called: its children, or those of plain sequences."""
    names: dict[nn.Module, list[str]] = defaultdict(list)  # one pooling layer may stand in several places
    for name, child in twin.named_children():
        parts = child._modules.items() if type(child) is nn.Sequential else [("", child)]
        for inner, layer in parts:
            if layer is not None:
                names[layer].append(f"{name}.{inner}".removesuffix("."))
    calls: list[_Call] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = names[layer]
        name = places.pop(0) if len(places) > 1 else places[0]
        calls.append(_Call(name, layer, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    handles = [layer.register_forward_hook(record) for layer in names]
    with torch.no_grad():
        twin(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    for handle in handles:
        handle.remove()
    return calls


def _piece(call: _Call, flow: Flow, rows: list[LayerRow]) -> Piece:
    own = [row for row in rows if row.name == call.name or row.name.startswith(f"{call.name}.")]
    channels = call.output[0] - call.input[0] if flow.skip == "concatenation" else call.output[0]
    boxes = tuple((box.what, box.notes, box.shape[:1] if box.what else ()) for box in flow.boxes)
    return Piece(
        call.name,
        *_told(call.layer, flow),
        flow.kind,
        flow.skip,
        call.output,
        sum(row.params for row in own),
        sum(row.macs for row in own),
        1,
        (type(call.layer), flow.skip, flow.join, channels, call.output[1:], boxes),
    )


def _told(layer: nn.Module, flow: Flow) -> tuple[str, str]:
    """Return what to call a piece, and what it consists of."""
    if len(flow.boxes) == 1:
        (box,) = flow.boxes
        return (box.what, ", ".join(box.notes)) if box.what else (", ".join(box.notes), "")
    branches = [", ".join(box.short for box in branch) for branch in flow.branches if branch]
    if flow.skip:
        branches = branches[:1]  # the arc tells the rest
    before, after = (", ".join(box.short for box in boxes if box.what) for boxes in (flow.before, flow.after))
    detail = ", ".join(part for part in (before, " | ".join(branches), after) if part)
    return ("transition" if type(layer) is nn.Sequential else words(type(layer).__name__)), detail


def _add(pieces: list[Piece], piece: Piece) -> None:
    """Append a piece, or write it beside the one before where it belongs there."""
    last = pieces[-1] if pieces else None
    is_plain = last is not None and (last.is_note or last.label.endswith(("convolution", "linear", "pooling")))
    if last is None or not (piece.label.startswith("dropout") or (piece.is_note and is_plain)):
        pieces.append(piece)
        return
    detail = f"{last.detail}, {piece.label}" if last.detail else piece.label
    params = last.params + piece.params
    pieces[-1] = last._replace(detail=detail, same=(*last.same, piece.label), params=params)


def _fold(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces with equal neighbours as one."""
    folded: list[Piece] = []
    for piece in pieces:
        last = folded[-1] if folded else None
        if last is None or last.same != piece.same:
            folded.append(piece)
            continue
        folded[-1] = piece._replace(
            name=f"{last.name.partition('-')[0]}-{piece.name.rpartition('.')[2]}",
            params=last.params + piece.params,
            macs=last.macs + piece.macs,
            num_equal=last.num_equal + 1,
        )
    return folded
