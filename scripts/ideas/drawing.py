"""What the figures share: colours, boxes, grids of numbered cells, and an SVG that comes out the same each time."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
"""Of the palette of Okabe and Ito (2008): told apart by colour-blind readers too."""
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
WIDTH = 7.2  # inches: 691 px in a browser, where 9 pt are 12 px
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "path",  # the same letters wherever it is opened
    "svg.hashsalt": "depthwise",
}


def tint(colour: str, share: float = 0.35) -> tuple[float, float, float]:
    """Return `colour` mixed with white; dark text is readable on it."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def canvas(figure: Figure, rows: float, columns: float = 72.0) -> Axes:
    """Return axes over the whole figure in units of a tenth of an inch, y downwards."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_axis_off()
    return axes


def cells(
    axes: Axes,
    x: float,
    y: float,
    values: Any,
    colours: Any,
    *,
    size: float = 2.4,
    form: str = "{:g}",
    share: float = 0.35,
) -> None:
    """Draw a table of numbers as squares, its upper left corner at (x, y). `colours`: one, or one for each cell."""
    table = np.atleast_2d(np.asarray(values))
    paint = np.broadcast_to(np.asarray(colours), table.shape)
    for (row, column), value in np.ndenumerate(table):
        left, top = x + column * size, y + row * size
        face = tint(str(paint[row, column]), share)
        axes.add_patch(Rectangle((left, top), size, size, facecolor=face, edgecolor="white", linewidth=1.2))
        text = value if isinstance(value, str) else form.format(value)
        axes.text(left + size / 2, top + size / 2, text.replace("-", "\N{MINUS SIGN}"), ha="center", va="center")


def frame(axes: Axes, x: float, y: float, width: float, height: float, colour: str = INK) -> None:
    """Draw an empty rectangle around something."""
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.8))


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    """Draw a layer: a coloured rectangle with its name."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor=tint(colour), edgecolor=colour, linewidth=1))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def arrow(axes: Axes, *points: tuple[float, float], colour: str = GREY) -> None:
    """Draw a line through the points with a head at the last."""
    if len(points) > 2:
        axes.plot([x for x, _ in points[:-1]], [y for _, y in points[:-1]], color=colour, linewidth=1.2)
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    axes.annotate("", points[-1], points[-2], arrowprops=look)


def stacked(axes: Axes, y: float, parts: Sequence[tuple[float, str]]) -> None:
    """Draw a lying bar of parts (length, colour), one behind the other."""
    start = 0.0
    for length, colour in parts:
        axes.barh(y, length, left=start, height=0.6, color=colour, edgecolor="white", linewidth=0.5)
        start += length


def to_svg(figure: Figure, title: str, digest: str) -> bytes:
    """Return the figure on white, without date or version; `title` and `digest` stand in its metadata."""
    target = BytesIO()
    metadata = {"Title": title, "Identifier": f"sha256:{digest}", "Date": None, "Creator": None}
    figure.savefig(target, format="svg", facecolor="white", metadata=metadata)
    return target.getvalue()


def in_style() -> Any:
    """Return the context in which a figure is drawn and saved."""
    return style.context(["default", STYLE])
