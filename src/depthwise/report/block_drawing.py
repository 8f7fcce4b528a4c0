"""A network's blocks as a picture: what follows what, what lies side by side, how many channels there are where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from depthwise.models.create import create_model
from depthwise.models.registry import model_info
from depthwise.report.boxes import Box, Shape
from depthwise.report.drawing import FILLS, RADIUS, joint
from depthwise.report.flow import Flow, flow_of
from depthwise.report.svg import GREY, INK, Point, box, circle, document, line, text, text_width

RIBBON = "#e3e9f0"
WIDE, TALL = 172, 46  # of a box
COLUMN, BARE, STEP = 194, 64, 80  # of a branch with boxes, one without; from one box to the next
MARGIN, HEAD, FOOT = 24, 74, 40
THIN, THICK = 2.0, 34.0  # of a ribbon


class Panel(NamedTuple):
    """One block and what to write above it."""

    caption: str
    flow: Flow


class _Wire(NamedTuple):
    """The way from one thing to the next, and how many channels it carries."""

    points: tuple[Point, ...]
    channels: int
    is_labelled: bool = True


def draw_blocks(title: str, panels: Sequence[Panel]) -> str:
    """Return the blocks side by side as an SVG file. Ribbons are as wide as there are channels."""
    most = max(shape[0] for panel in panels for shape in _shapes(panel.flow))
    elements = [text((MARGIN, 30), title, size=16, is_bold=True)]
    left, height = float(MARGIN), 0.0
    for panel in panels:
        drawn = _Sketch(panel.flow, left, most)
        elements += [text((drawn.axis, 56), panel.caption, size=12, colour=GREY, anchor="middle")]
        elements += drawn.elements()
        left, height = left + drawn.width + MARGIN, max(height, drawn.bottom)
    left = max(left, MARGIN + text_width(title, 16) + MARGIN)
    note = "Numbers at arrows: channels; the ribbons are as wide."
    elements.append(text((MARGIN, height + FOOT - 10), note, size=10.5, colour=GREY))
    return document(max(left, 340), height + FOOT, title, elements)


def _shapes(flow: Flow) -> list[Shape]:
    return [flow.input, flow.output, *(b.shape for b in flow.boxes)]


class _Sketch:
    """The lines and boxes of one block, placed from the top down."""

    def __init__(self, flow: Flow, left: float, most: int) -> None:
        self.flow, self.most = flow, most
        widths = [COLUMN if branch else BARE for branch in flow.branches] or [COLUMN]
        self.width = sum(widths)
        self.columns = [left + sum(widths[:number]) + width / 2 for number, width in enumerate(widths)]
        lengths = [len(branch) for branch in flow.branches]
        self.axis = self.columns[lengths.index(max(lengths))] if flow.skip else left + self.width / 2
        self.boxes: list[tuple[Point, Box]] = []
        self.wires: list[_Wire] = []
        self.signs: list[Point] = []
        self.top = float(HEAD + 16)
        self.bottom = self._place()

    def _place(self) -> float:
        """Place everything; return where it ends."""
        y, shape = self._chain(self.flow.before, self.axis, self.top, self.flow.input)
        if self.flow.join:
            y, shape = self._fork(y, shape)
        y, shape = self._chain(self.flow.after, self.axis, y, shape)
        self.wires.append(_Wire(((self.axis, y), (self.axis, y + STEP - TALL)), shape[0]))
        return y + STEP - TALL + 26

    def _chain(self, boxes: Sequence[Box], x: float, y: float, shape: Shape) -> tuple[float, Shape]:
        """Place boxes under each other from y on; return where the last one ends, and its shape."""
        for item in boxes:
            top = y + STEP - TALL
            self.wires.append(_Wire(((x, y), (x, top)), shape[0]))
            self.boxes.append(((x, top), item))
            y, shape = top + TALL, item.shape
        return y, shape

    def _fork(self, y: float, shape: Shape) -> tuple[float, Shape]:
        """Place the branches side by side; return where their joint ends, and the shape behind it."""
        longest = max(len(branch) for branch in self.flow.branches)
        fork, end = y + 12, y + 12 + longest * STEP + 30
        self.wires.append(_Wire(((self.axis, y), (self.axis, fork)), shape[0], False))
        is_split = bool(self.flow.before) and self.flow.before[-1].what == "channel split"
        start = (shape[0] // 2, *shape[1:]) if is_split else shape
        for x, branch in zip(self.columns, self.flow.branches, strict=True):
            self._branch(branch, x, (fork, end), start)
        self.signs.append((self.axis, end))
        return end + RADIUS, self._joined(start)

    def _branch(self, branch: Sequence[Box], x: float, ends: tuple[float, float], shape: Shape) -> None:
        fork, end = ends
        first = fork + STEP - TALL
        entry: tuple[Point, ...] = ((self.axis, fork), (x, fork)) if x != self.axis else ((x, fork),)
        side = RADIUS if x > self.axis else -RADIUS
        way_out: tuple[Point, ...] = ((x, end), (self.axis + side, end)) if x != self.axis else ((x, end - RADIUS),)
        if not branch:
            self.wires.append(_Wire((*entry, *way_out), shape[0]))
            return
        top = max(first, fork + (end - 30 - fork - len(branch) * STEP) / 2 + STEP - TALL)
        self.wires.append(_Wire((*entry, (x, top)), shape[0]))
        self.boxes.append(((x, top), branch[0]))
        y, shape = self._chain(branch[1:], x, top + TALL, branch[0].shape)
        self.wires.append(_Wire(((x, y), *way_out), shape[0]))

    def _joined(self, start: Shape) -> Shape:
        ends = [branch[-1].shape if branch else start for branch in self.flow.branches]
        return ends[0] if self.flow.join == "sum" else (sum(end[0] for end in ends), *ends[0][1:])

    def elements(self) -> Iterator[str]:
        """Yield ribbons first, then lines, boxes and words."""
        for wire in self.wires:
            yield line(wire.points, colour=RIBBON, width=THIN + (THICK - THIN) * wire.channels / self.most, bend=14)
        for wire in self.wires:
            yield line(wire.points, has_arrow=wire.is_labelled, bend=14)
        for wire in self.wires:
            if wire.is_labelled:
                yield _count(wire)
        for (x, top), item in self.boxes:
            yield from _boxed(x, top, item)
        for sign in self.signs:
            yield from joint(sign, is_sum=self.flow.join == "sum")
        yield circle((self.axis, self.top), 3, fill=INK)
        yield _size((self.axis, self.top - 9), self.flow.input)
        yield _size((self.axis, self.bottom - 8), self.flow.output)


def _count(wire: _Wire) -> str:
    """Return the number of channels beside the longest upright part of a wire."""
    parts = list(zip(wire.points, wire.points[1:], strict=False))
    (x, start), (_, end) = max(parts, key=lambda part: abs(part[1][1] - part[0][1]))
    return text((x + 7, (start + end) / 2 + 3), str(wire.channels), size=10.5, colour=GREY)


def _size(at: Point, shape: Shape) -> str:
    return text(at, " x ".join(map(str, shape)), size=11, anchor="middle", is_bold=True)


def _boxed(x: float, top: float, item: Box) -> Iterator[str]:
    fill, stroke = FILLS[item.kind]
    yield box((x - WIDE / 2, top), WIDE, TALL, fill=fill, stroke=stroke)
    what, notes = (item.what, item.notes) if item.what else (", ".join(item.notes), ())
    yield text((x, top + (20 if notes else 27)), what, size=12, anchor="middle", is_bold=True)
    if notes:
        yield text((x, top + 36), ", ".join(notes), size=10.5, anchor="middle")


def panel_of(caption: str, name: str, path: str) -> Panel:
    """Return the block at `path` of the network `name`, at its paper's size of pictures, as a panel."""
    spec = model_info(name)
    with torch.device("meta"):
        model = create_model(name).eval()
    block, inputs = model.get_submodule(path), []
    block.register_forward_hook(lambda _, given, __: inputs.append(tuple(given[0].shape[1:])))
    with torch.no_grad():
        model(torch.empty(1, spec.in_channels, spec.image_size, spec.image_size, device="meta"))
    return Panel(caption, flow_of(block, inputs[0]))
