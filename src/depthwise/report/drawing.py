"""A whole network as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from depthwise.files import write_whole
from depthwise.models.create import create_model
from depthwise.models.registry import model_info
from depthwise.report.boxes import Kind, Shape
from depthwise.report.pieces import Piece, pieces_of
from depthwise.report.svg import GREY, INK, Point, box, circle, document, line, text, text_width
from depthwise.report.target import check_target

FILLS: dict[Kind, tuple[str, str]] = {
    "convolution": ("#c9def4", "#3a6ea5"),
    "depthwise": ("#c5e8df", "#2a8a74"),
    "residual": ("#d5e8c0", "#5f8f2e"),
    "concatenating": ("#e0d3f2", "#7550a8"),
    "pooling": ("#f8d0cb", "#b8493c"),
    "linear": ("#fbe3ae", "#b07d10"),
    "excitation": ("#fbe3ae", "#b07d10"),
    "other": ("#e5e8ec", "#7b8794"),
}
"""Fill and stroke of each kind."""
LEGEND: dict[Kind, str] = {
    "convolution": "convolution",
    "depthwise": "with depthwise convolution",
    "residual": "residual block",
    "concatenating": "concatenating block",
    "pooling": "pooling",
    "linear": "linear layer",
    "other": "other",
}
SKIPS = {"identity": "", "projection": "5 3", "zero padding": "8 3 2 3", "concatenation": "1.5 3"}
"""How the way around a block is dashed."""

AXIS = 150  # the middle of the boxes
WIDEST, NARROWEST = 210, 40
THICKEST, THINNEST = 46, 12
LEFT = 290  # of the words
RIGHT = (735, 830, 930)  # of output, parameters, multiply-adds
GAP = 26  # between boxes, for an arrow and what joins there
JOINT, RADIUS = 9, 5.5  # where branches join: how far behind a box, and how large the sign is
HEAD, FOOT = 84, 44


def draw_network(name: str, image: Shape, pieces: Sequence[Piece]) -> str:
    """Return the network as an SVG file: from top to bottom a box for each piece.

    A box is as wide as the maps have pixels to a side and as thick as they have channels, both on a logarithmic scale;
    what leads around it is what is added to its output, or put beside it. `image` is the shape of the input.
    """
    tops, height = _places(pieces, image)
    elements = [*_title(name, image, pieces), _input(image)]
    has_joint = False
    for piece, top in zip(pieces, tops, strict=True):
        elements += _arrow(top, has_joint)
        elements += _drawn(piece, top, image, pieces)
        has_joint = bool(piece.skip)
    elements += _legend(pieces, height)
    return document(RIGHT[-1] + 20, height + FOOT, f"{name}, layer by layer", elements)


def draw_to(
    target: Path,
    name: str,
    image_size: int | None,
    num_classes: int | None,
    in_channels: int | None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Draw a network by name, by default as in its paper. Raises UserError when `target` exists or is no .svg."""
    check_target(target, "--svg", ".svg", overwrite=overwrite)
    spec = model_info(name)
    with torch.device("meta"):
        model = create_model(name, num_classes, in_channels, **options)
    side, channels = image_size or spec.image_size, in_channels or spec.in_channels
    told = "".join(f", {key}={value}" for key, value in options.items())
    picture = draw_network(spec.name + told, (channels, side, side), pieces_of(model, side, channels))
    write_whole(target, picture.encode())


def _places(pieces: Sequence[Piece], image: Shape) -> tuple[list[float], float]:
    """Return the top of each box, and where the last one ends."""
    tops: list[float] = []
    y: float = HEAD + 26
    for piece in pieces:
        tops.append(y + GAP)
        y += GAP + _thickness(piece.shape, pieces)
    return tops, y + GAP


def _thickness(shape: Shape, pieces: Sequence[Piece]) -> float:
    most = max(piece.shape[0] for piece in pieces)
    return THINNEST + (THICKEST - THINNEST) * (math.log2(max(shape[0], 2)) / math.log2(most)) ** 2


def _width(shape: Shape, image: Shape) -> float:
    side = shape[-1] if len(shape) > 1 else 1
    return NARROWEST + (WIDEST - NARROWEST) * math.log2(max(side, 1)) / math.log2(max(image[-1], 2))


def _title(name: str, image: Shape, pieces: Sequence[Piece]) -> Iterator[str]:
    params, macs = sum(piece.params for piece in pieces), sum(piece.macs for piece in pieces)
    yield text((20, 30), name, size=18, is_bold=True)
    yield text((20, 50), f"{rounded(params)} parameters, {rounded(macs)} multiply-adds", colour=GREY)
    for right, head in zip(RIGHT, ("output", "parameters", "multiply-adds"), strict=True):
        yield text((right, HEAD + 17), head, size=11, colour=GREY, anchor="end")
    yield line([(LEFT, HEAD + 25), (RIGHT[-1], HEAD + 25)], colour="#cbd2d9", width=1)


def _input(image: Shape) -> str:
    words = f"picture {' x '.join(map(str, image))}"
    return text((AXIS, HEAD + 17), words, size=11, colour=GREY, anchor="middle")


def rounded(count: int) -> str:
    """Return a count in three digits: 3.50 M."""
    for unit, sign in ((10**3, "k"), (10**6, "M"), (10**9, "G")):
        if 1000 <= count < 999.5 * unit or (count >= 1000 and sign == "G"):
            value = count / unit
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {sign}"
    return str(count)


def _arrow(top: float, has_joint: bool) -> Iterator[str]:
    """Yield the arrow to a box, from the box before it or from what joins behind that one."""
    start = top - GAP + (JOINT + RADIUS if has_joint else 2)
    yield line([(AXIS, start), (AXIS, top - 1)], has_arrow=True)


def _drawn(piece: Piece, top: float, image: Shape, pieces: Sequence[Piece]) -> Iterator[str]:
    width, thickness = _width(piece.shape, image), _thickness(piece.shape, pieces)
    bottom = top + thickness
    for shift in range(4 * (min(piece.num_equal, 3) - 1), -1, -4):  # a stack where there are several
        fill, stroke = FILLS[piece.kind]
        yield box((AXIS - width / 2 + shift, top - shift / 2), width, thickness, fill=fill, stroke=stroke)
    if piece.num_equal > 1:
        yield text((AXIS, top + thickness / 2 + 4), f"x {piece.num_equal}", size=12, anchor="middle", is_bold=True)
    if piece.skip:
        yield from _skip(piece, top, bottom, width)
    yield from _words(piece, top + thickness / 2)


def _skip(piece: Piece, top: float, bottom: float, width: float) -> Iterator[str]:
    """Yield the way around a box, and the sign of what happens where it comes back: a plus for a sum."""
    left, end = AXIS - width / 2 - 16, bottom + JOINT
    way: list[Point] = [(AXIS, top - 10), (left, top - 10), (left, end), (AXIS - RADIUS, end)]
    yield line(way, colour=FILLS[piece.kind][1], width=1.6, dashes=SKIPS[piece.skip])
    yield line([(AXIS, bottom), (AXIS, end - RADIUS)])
    yield from joint((AXIS, end), is_sum=piece.skip != "concatenation")


def joint(at: Point, *, is_sum: bool) -> Iterator[str]:
    """Yield the sign for a sum, a plus, or for channels put one after another, two bars."""
    x, y = at
    yield circle(at, RADIUS)
    if is_sum:
        yield line([(x - 3.5, y), (x + 3.5, y)])
        yield line([(x, y - 3.5), (x, y + 3.5)])
    else:
        yield line([(x - 1.8, y - 3), (x - 1.8, y + 3)])
        yield line([(x + 1.8, y - 3), (x + 1.8, y + 3)])


def _words(piece: Piece, middle: float) -> Iterator[str]:
    baseline = middle - 2 if piece.detail else middle + 4
    yield text((LEFT, baseline), piece.label, size=12, is_bold=True, aside=piece.name)
    if piece.detail:
        yield text((LEFT, middle + 13), piece.detail, size=10.5, colour=INK)
    cells = (" x ".join(map(str, piece.shape)), rounded(piece.params), rounded(piece.macs))
    for right, cell in zip(RIGHT, cells, strict=True):
        yield text((right, middle + 4), cell, size=11.5, anchor="end", colour=GREY if cell == "0" else INK)


def _legend(pieces: Sequence[Piece], height: float) -> Iterator[str]:
    x, y = 20.0, height + 12
    kinds = {piece.kind for piece in pieces}
    for kind, words in LEGEND.items():
        if kind in kinds:
            fill, stroke = FILLS[kind]
            yield box((x, y - 10), 12, 12, fill=fill, stroke=stroke, radius=2)
            yield text((x + 17, y), words, size=11)
            x += 32 + text_width(words, 11)
    skips = {piece.skip for piece in pieces}
    for skip, dashes in SKIPS.items():
        if skip in skips:
            yield line([(x, y - 4), (x + 22, y - 4)], width=1.6, dashes=dashes)
            yield text((x + 27, y), skip, size=11)
            x += 42 + text_width(skip, 11)
