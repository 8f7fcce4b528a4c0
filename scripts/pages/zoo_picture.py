"""The zoo as a picture: accuracy against multiply-adds, years as colours."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from depthwise.models.weights.origins import public_weights
from depthwise.report.svg import GREY, INK, PAPER, Point, box, circle, document, line, number, text, text_width
from depthwise.report.zoo import Entry, entries

WIDTH, HEIGHT = 1180, 780
LEFT, RIGHT, TOP, BOTTOM = 70, WIDTH - 30, 74, HEIGHT - 84
MACS = (9e6, 6e10)
TOP1 = (42.0, 86.0)
LABEL = 10.5
YEARS = {
    2012: "#440154",
    2013: "#46327e",
    2014: "#365c8d",
    2015: "#277f8e",
    2016: "#1fa187",
    2017: "#4ac16d",
    2018: "#a0b81f",
    2019: "#e8940c",
    2020: "#d1495b",
}
"""Dark for the first, bright for the last."""


class Dot(NamedTuple):
    """A network in the picture."""

    name: str
    family: str
    year: int
    macs: int
    top1: float
    is_papers: bool

    @property
    def at(self) -> Point:
        """Where it lies."""
        low, high = (math.log10(value) for value in MACS)
        x = LEFT + (math.log10(self.macs) - low) / (high - low) * (RIGHT - LEFT)
        y = BOTTOM - (self.top1 - TOP1[0]) / (TOP1[1] - TOP1[0]) * (BOTTOM - TOP)
        return x, y


class Rect(NamedTuple):
    """An area that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Rect") -> bool:
        """Return whether the two overlap."""
        is_beside = self.right <= other.left or other.right <= self.left
        return not (is_beside or self.bottom <= other.top or other.bottom <= self.top)


def dots() -> list[Dot]:
    """Return the ImageNet networks with the paper's accuracy, or else that of the best public weights at its size.

    Of ShuffleNet V1 only three groups are shown: the others lie almost on them.
    """
    found = []
    for entry in entries():
        spec = entry.spec
        top1 = _top1(entry)
        is_crowd = spec.family == "shufflenet_v1" and spec.options["groups"] != 3
        if top1 is not None and not is_crowd:
            found.append(Dot(_short(spec.name), spec.family, spec.year, spec.macs, top1, spec.top1 is not None))
    return found


def _top1(entry: Entry) -> float | None:
    spec = entry.spec
    if spec.top1 is not None:
        return spec.top1
    rows = [row for row in public_weights() if row.network == spec.name]
    return max((r.top1 for r in rows if r.top1 and r.preprocessing.image_size == spec.image_size), default=None)


def _short(name: str) -> str:
    """Return mobilenet_v2 1.4 for mobilenet_v2_x1_4."""
    family, _, width = name.partition("_x")
    is_width = width[:1].isdigit() and width.replace("_", "").isdigit()
    return f"{family.removesuffix('_g3')} {width.replace('_', '.')}" if is_width else name


def draw() -> str:
    """Return the picture as an SVG file."""
    found = dots()
    taken = [Rect(x - 6, y - 6, x + 6, y + 6) for x, y in (dot.at for dot in found)]
    elements = [*_frame(), *_families(found)]
    labels: list[str] = []
    for dot in sorted(found, key=lambda dot: -_crowd(dot, found)):  # where there is least room, first
        place, lead = place_label(dot, taken)
        taken.append(place)
        labels += _label(dot, place, lead)
    for dot in found:
        fill = YEARS[dot.year]
        elements.append(circle(dot.at, 4.6, fill=fill if dot.is_papers else PAPER, stroke=fill))
    return document(WIDTH, HEIGHT, "Accuracy against multiply-adds", [*elements, *labels, *_legend(found)])


def _crowd(dot: Dot, found: Iterable[Dot]) -> int:
    return sum(abs(dot.at[0] - other.at[0]) < 120 and abs(dot.at[1] - other.at[1]) < 40 for other in found)


def place_label(dot: Dot, taken: Sequence[Rect]) -> tuple[Rect, bool]:
    """Return a free place for a dot's name, the nearest first, and whether it needs a line to the dot."""
    width, height = text_width(dot.name, LABEL), LABEL + 2
    x, y = dot.at
    for distance in (0.0, 10.0, 18.0, 26.0, 36.0, 48.0, 60.0, 74.0, 90.0, 110.0, 130.0):
        for left, top in _around(x, y, width, height, distance):
            place = Rect(left, top, left + width, top + height)
            is_inside = place.left > LEFT and place.right < RIGHT and place.top > TOP and place.bottom < BOTTOM
            if is_inside and not any(place.meets(other) for other in taken):
                return place, distance > 0
    raise ValueError(f"no room for the name of {dot.name}")


def _around(x: float, y: float, width: float, height: float, distance: float) -> Iterator[Point]:
    gap, middle = 8 + distance, y - height / 2
    slant = 0.7 * gap
    yield x - gap - width, middle
    yield x + gap, middle
    yield x - width / 2, y - gap - height
    yield x - width / 2, y + gap
    for side in (x - slant - width, x + slant):
        yield side, y - slant - height
        yield side, y + slant


def _label(dot: Dot, place: Rect, has_lead: bool) -> Iterator[str]:
    x, y = dot.at
    if has_lead:
        near = (min(max(x, place.left), place.right), min(max(y, place.top + 2), place.bottom - 1))
        yield line([(x, y), near], colour="#9aa5b1", width=0.7)
    middle = (place.left + place.right) / 2
    yield box((place.left + 3, place.top + 1), place.right - place.left - 6, LABEL, fill=PAPER, radius=2)
    yield text((middle, place.bottom - 3), dot.name, size=LABEL, colour=INK, anchor="middle")


def _frame() -> Iterator[str]:
    """Yield title, axes and grid."""
    yield text((LEFT, 30), "Accuracy against multiply-adds", size=18, is_bold=True)
    note = (
        "ImageNet top-1 as the paper gives it (filled; AlexNet, VGG and ResNet not from one crop), "
        "or of the best public weights at its size of pictures (hollow)"
    )
    yield text((LEFT, 52), note, size=12, colour=GREY)
    for macs in (1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10, 3e10):
        x = Dot("", "", 2012, int(macs), TOP1[0], True).at[0]
        yield line([(x, TOP), (x, BOTTOM)], colour="#e4e7eb", width=1)
        words = f"{macs / 1e9:g} billion" if macs >= 1e9 else f"{macs / 1e6:g} million"
        yield text((x, BOTTOM + 18), words, size=11, colour=GREY, anchor="middle")
    for top1 in range(45, 90, 5):
        y = Dot("", "", 2012, int(MACS[0]), top1, True).at[1]
        yield line([(LEFT, y), (RIGHT, y)], colour="#e4e7eb", width=1)
        yield text((LEFT - 8, y + 4), f"{top1} %", size=11, colour=GREY, anchor="end")
    yield text(((LEFT + RIGHT) / 2, BOTTOM + 38), "multiply-adds for one picture", size=12, anchor="middle")


def _families(found: Iterable[Dot]) -> Iterator[str]:
    """Yield a line through each family's dots of one kind, from the cheapest to the dearest."""
    ways: dict[tuple[str, bool, str], list[Dot]] = {}
    for dot in found:
        kind = re.sub(r"\d+", "", re.sub(r" [\d.]+$", "", dot.name))
        ways.setdefault((dot.family, dot.is_papers, kind), []).append(dot)
    for way in ways.values():
        for first, second in pairwise(sorted(way, key=lambda dot: dot.macs)):
            yield line([first.at, second.at], colour=YEARS[first.year], width=1)


def _legend(found: Iterable[Dot]) -> Iterator[str]:
    x, y = float(LEFT), HEIGHT - 20
    for year in sorted({dot.year for dot in found}):
        yield circle((x + 5, y - 4), 5, fill=YEARS[year], stroke=YEARS[year])
        yield text((x + 14, y), number(year), size=12)
        x += 64
    yield text((RIGHT, y), "Of ShuffleNet V1: three groups", size=11, colour=GREY, anchor="end")
