"""Scalable vector graphics by hand: a picture is a list of elements, an element a string. Lengths are in px."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, GREY, PAPER = "#1f2933", "#66727f", "#ffffff"
Point = tuple[float, float]


def number(value: float) -> str:
    """Return a length to a tenth of a px, the same on every machine."""
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is, on the wide side of the usual fonts."""
    return 0.6 * size * len(text)


def text(
    at: Point,
    words: str,
    *,
    size: float = 12,
    colour: str = INK,
    anchor: Literal["start", "middle", "end"] = "start",
    is_bold: bool = False,
    aside: str = "",
) -> str:
    """Return a line of text whose baseline starts, is centred or ends at the point; `aside` follows small and grey."""
    weight = ' font-weight="bold"' if is_bold else ""
    place = f'x="{number(at[0])}" y="{number(at[1])}" font-size="{number(size)}" fill="{colour}" text-anchor="{anchor}"'
    small = f'<tspan dx="8" font-size="{number(size - 2)}" font-weight="normal" fill="{GREY}">{escape(aside)}</tspan>'
    return f"<text {place}{weight}>{escape(words, quote=False)}{small if aside else ''}</text>"


def box(at: Point, width: float, height: float, *, fill: str, stroke: str = "none", radius: float = 4) -> str:
    """Return a rectangle with round corners, `at` its upper left one."""
    place = f'x="{number(at[0])}" y="{number(at[1])}" width="{number(width)}" height="{number(height)}"'
    return f'<rect {place} rx="{number(radius)}" fill="{fill}" stroke="{stroke}"/>'


def circle(at: Point, radius: float, *, fill: str = PAPER, stroke: str = INK) -> str:
    """Return a circle around the point."""
    place = f'cx="{number(at[0])}" cy="{number(at[1])}" r="{number(radius)}"'
    return f'<circle {place} fill="{fill}" stroke="{stroke}"/>'


def line(
    points: Sequence[Point],
    *,
    colour: str = INK,
    width: float = 1.2,
    has_arrow: bool = False,
    dashes: str = "",
    bend: float = 8,
) -> str:
    """Return a line through the points with its corners rounded, with an arrow at its end if asked for."""
    start, *_ = points
    steps = [f"M{_at(start)}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        steps.append(f"L{_at(_towards(corner, before, bend))}Q{_at(corner)} {_at(_towards(corner, after, bend))}")
    steps.append(f"L{_at(points[-1])}")
    more = (' marker-end="url(#arrow)"' if has_arrow else "") + (f' stroke-dasharray="{dashes}"' if dashes else "")
    return f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="{number(width)}"{more}/>'


def _at(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def _towards(start: Point, end: Point, distance: float) -> Point:
    """Return the point `distance` from start towards end, at most half way."""
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(distance / length, 0.5) if length else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def document(width: float, height: float, title: str, elements: Iterable[str]) -> str:
    """Return the picture as a file: white, with a title for those who cannot see it."""
    size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img">'
    paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", arrow, paper, *elements, "</svg>", ""])
